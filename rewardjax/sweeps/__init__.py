"""Sweeps of a config: `rewardjax sweep` plans them, runs them and shows what they measured.

trials.py   the trials of a sweep, checked before the first one starts
names.py    what varies between trials, and the names of their folders
local.py    trials as processes of this machine; one that is done is not run again
outcomes.py what became of each trial: its figures, or the sentence by which it failed
ranking.py  the seeds of a setting folded, settings ranked, as a table
plots.py    slices, parallel coordinates, interaction and learning curves
page.py     index.html of the sweep's folder
"""
