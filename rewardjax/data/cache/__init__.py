"""How a token cache is made: shard by shard, by one process or many, killed or not.

    stretches        the records of a source from one number to another
    counts           what became of every record and pair
    shards           one shard: its files, written whole or not at all
    building         the plan, the shards that are missing, and the manifest that makes them a cache
    local_processes  processes of this machine that make shards
    tally            how far all processes are
    file_hashes      large source files that were read before

`token_cache` beside this folder reads what is made here, `prepare` is the way in.
"""
