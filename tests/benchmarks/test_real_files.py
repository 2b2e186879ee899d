"""What the benchmark of a mixed source writes, and what it reports."""

import json

from benchmarks import real_files
from rewardjax.data import formats
from rewardjax.data.sources import open_source

TEXT = "Plain words of a dialogue. " * 1000


def test_the_source_mixes_layouts_and_formats_and_has_a_few_bad_records(tmp_path):
    real_files.write_source(tmp_path / "mixed", TEXT, 1201, part=1)
    source = open_source(tmp_path / "mixed")
    assert len(source) == 1201
    layouts = {layout for reading in formats.readings(source) for layout in reading.layouts}
    assert len(source.files) == 6 and len(layouts) == 6
    # Parquet's writers put a million rows into one group.
    assert formats.readings(source)[2].file == "strengths.parquet"
    bad = [record for record in map(str, source) if "\\x00" in record]
    assert 0.002 < len(bad) / 1201 < 0.02


def test_memory_is_that_of_the_command_alone():
    ballast = bytearray(b"1") * (200 << 20)
    cost = real_files.measure("-c", "sum(range(3_000_000)); print('done')")
    assert cost.output == ["done"] and cost.peak_mib < 100 < len(ballast) >> 20
    assert 0 < cost.cpu_s < 60


def test_the_benchmark_reports_costs_and_memory_of_every_size(capsys):
    real_files.main(["--smoke"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "real_files" and result["tokenizer"] == "assets:world"
    for size, records in zip(result["sizes"], real_files.SMOKE, strict=True):
        assert size["records"] == records < size["pairs"] < size["tokens"]
        for figure in ("check_records", "tokenize_records", "tokenize_tokens"):
            assert size[f"{figure}_per_cpu_s"] > 0
        assert 50 < size["check_peak_mib"] < size["tokenize_peak_mib"] < 1024
    assert set(result["memory_ratio"]) == {"check", "tokenize"}
