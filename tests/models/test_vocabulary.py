"""The tokenizer follows the model, and one of another vocabulary is refused before it is used."""

import json
import shutil

import pytest

from rewardjax import assets
from rewardjax.models import build, vocabulary
from rewardjax.scoring import model as scorer

WORLD = "assets:world"
ROWS = 1024  # of the world's table, which is exactly as large as its vocabulary


class Vocabulary:
    """A tokenizer of which only the size matters."""

    def __init__(self, size):
        self.vocab_size = size


@pytest.fixture
def model_folder(tmp_path):
    """Makes a folder with the world's config.json, of a table of `rows` rows, and its tokenizer."""

    def make(rows=ROWS, files=vocabulary.FILES):
        folder = tmp_path / f"rows{rows}"
        folder.mkdir()
        config = json.loads((assets.resolve(WORLD) / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
        for name in files:
            shutil.copy(assets.resolve(WORLD) / name, folder)
        return folder

    return make


def test_the_tokenizer_is_that_of_the_models_folder(model_folder):
    folder = str(model_folder())
    own = build.load_tokenizer(model_folder=folder)
    assert own.fingerprints() == build.load_tokenizer(WORLD).fingerprints()


def test_a_folder_without_a_tokenizer_and_a_model_from_scratch_name_the_field(model_folder):
    with pytest.raises(ValueError, match="tokenizer.folder: .*rows1024 has no tokenizer.json"):
        build.load_tokenizer(model_folder=str(model_folder(files=())))
    with pytest.raises(ValueError, match="tokenizer.folder: a model from scratch"):
        build.load_tokenizer()


def test_a_tokenizer_of_another_size_is_refused_with_both_sizes(model_folder):
    """In both directions: ids beyond the table, and a table for a far larger vocabulary."""
    small, large = str(model_folder(rows=1000)), str(model_folder(rows=151_936))
    for tokenizer_folder in (None, WORLD):
        with pytest.raises(ValueError, match="1024 tokens, the embedding table 1000; .*rows1000"):
            build.load_tokenizer(tokenizer_folder, model_folder=small)
        with pytest.raises(ValueError, match="1024 tokens, the embedding table 151936 rows: more"):
            build.load_tokenizer(tokenizer_folder, model_folder=large)


@pytest.mark.parametrize(
    "tokens, rows",
    [(151_669, 151_936), (151_665, 152_064), (32_001, 32_064), (100_015, 102_400), (1020, 1024)],
)
def test_padding_of_published_tables_is_accepted(tokens, rows):
    vocabulary.refuse_other_size(Vocabulary(tokens), rows, "folder")


@pytest.mark.parametrize("tokens, rows", [(1024, 151_936), (32_000, 128_256), (300, 1024)])
def test_more_than_padding_is_another_vocabulary(tokens, rows):
    with pytest.raises(ValueError, match=f"{tokens} tokens, the embedding table {rows} rows"):
        vocabulary.refuse_other_size(Vocabulary(tokens), rows, "folder")


def test_a_tokenizer_of_equal_size_whose_ids_are_other_tokens_is_refused(model_folder, tmp_path):
    home, other = model_folder(), tmp_path / "other"
    shutil.copytree(home, other)
    spec = json.loads((other / "tokenizer.json").read_text())
    ids = spec["model"]["vocab"]
    by_id = sorted(ids, key=ids.get)
    # Swapped in pairs: the same tokens, each at its neighbor's id.
    for first, second in zip(by_id[300:400:2], by_id[301:401:2], strict=True):
        ids[first], ids[second] = ids[second], ids[first]
    (other / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match="100 of 1024 ids are other tokens .*tokenizer.folder"):
        build.load_tokenizer(str(other), model_folder=str(home))
    # The vocabulary counts, not where it lies.
    build.load_tokenizer(WORLD, model_folder=str(home))


@pytest.mark.parametrize("rows", [1000, 151_936])
def test_scoring_refuses_the_same_before_it_reads_weights(model_folder, rows):
    """There are no weights in this folder: they are not even looked for."""
    with pytest.raises(ValueError, match=f"1024 tokens, the embedding table {rows}"):
        scorer.load(model_folder(rows=rows))
