"""A run says so where a judge decides nothing: on the console and in the report."""

import pytest
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import labeling, product, report
from rewardjax.curation.workspace import Workspace


@pytest.mark.parametrize("pairs_known", [12, 0])
def test_a_panel_that_knows_none_of_the_pairs_is_warned_about(tmp_path, capsys, pairs_known):
    _, _, truth = world_items(pairs_known, seed=3)
    store = world_store(tmp_path, 12)
    ids = store.query("select pair_id from pairs order by pair_id").column(0).to_pylist()
    config = curation()
    config.shots = 0
    with serve({"m": Behavior(accuracy=1.0)}, truth) as server:
        judges = [judge_at(server, "m")]
        calls = CallLedger(tmp_path / "calls.sqlite")
        ws = Workspace(tmp_path, config, store, calls, judges, product.PLUGINS)
        labeling.judge(ws, ids, stage_names.judges(0), stage_names.panel(0), {})
    warned = 'judge:m says "No preference" in 24 of 24 answers' in capsys.readouterr().err
    assert warned == (pairs_known == 0) == bool(report.undecided_judges(ws))
