"""Everything that can be known before step 1 is told before step 1, all of it at once.

    fields.py     what the fields of a config say by themselves; `sweep` and `compile` ask this too
    machine.py    folders, tokenizer, model files, devices and disk: before any data is read
    tokenized.py  what only the tokenized data can tell: before anything is compiled

A check is a function that yields a sentence for each mistake, which names the field and what to
change; a table lists the checks of a file. Whatever another module refuses by itself (a loss its
options, an optimizer its patterns) is asked of that module, never checked a second time here.
Training ends with all sentences of `fields` and `machine` together, or else with all of
`tokenized`: there is nothing to tokenize while a folder or a field is wrong.
"""
