"""The benchmark of deciding a large ledger: it decides every pair that it wrote."""

import json

from benchmarks import curation_scale


def test_every_pair_is_decided(tmp_path, monkeypatch, capsys):
    argv = ["curation_scale", "--folder", str(tmp_path), "--pairs", "2000"]
    monkeypatch.setattr("sys.argv", argv)
    curation_scale.main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sum(result["actions"].values()) == 2000
    # The preset speaks of all of these; a ledger that is not read would leave some out.
    assert set(result["actions"]) >= {"keep", "flip"}
