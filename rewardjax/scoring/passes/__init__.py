"""A pass over a data set that any number of processes share: each record is scored exactly once.

    OUT.parts/plan.json                     the input, the model and the settings, for all to share
    OUT.parts/00017.claim                   who works on unit 17, so that nobody else begins it
    OUT.parts/00017-3f9c.parquet            scores of one attempt at it
    OUT.parts/00017-3f9c.quarantine.jsonl   what that attempt could not score
    OUT.parts/00017.json                    the unit's commit: it names an attempt and exists once

A unit is a range of the input's records, named after its place, never after who does it. Whatever
is killed, and whenever, an attempt that no commit names does not count.
"""
