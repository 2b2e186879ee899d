"""A workspace whose people were given sixteen tasks, and the command that takes their answers."""

import json
import re

from ledgers import pair

from rewardjax import curate
from rewardjax.curation import people, people_files
from rewardjax.curation.annotation.desk import open_desk
from rewardjax.curation.ledger.store import Store

NAMES = ("ann", "bob")
STEP = "people-0"
DESCRIBED = {
    "task_category": "Math",
    "objectivity": "Objective",
    "controversiality": "Low",
    "desired_attributes": "right, short",
    "annotation_guideline": 'Prefer "yes".',
}


def message(role, text):
    return {"role": role, "content": text}


def texts(i):
    """A conversation and two responses with all that files tend to spoil."""
    prompt = [message("user", f"Question {i}, \u2028 and more?")]
    if i % 3 == 0:
        prompt += [message("assistant", "Hm;\n\nwell."), message("user", "So?")]
    return {
        "prompt": json.dumps(prompt),
        "response_a": json.dumps([message("assistant", f'It is "{i}",\nsaid he.')]),
        "response_b": json.dumps([message("assistant", f"Ça\tdépend | {i}")]),
    }


class Board:
    """The workspace, its tasks, and `curate answers` in it."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.store = Store(folder / "store")
        ids = [f"{i:04x}" for i in range(16)]
        self.store.append(
            "pairs", "import", "0", [pair(id, **texts(i)) for i, id in enumerate(ids)]
        )
        rows = [{"pair_id": i, "voter": "judge:m", "kind": "judge"} | DESCRIBED for i in ids[:-1]]
        self.store.append("attributes", "tag", "0", rows)
        self.tasks = people.queue(self.store, ids, NAMES, overlap=0, checks=0)
        with open_desk(folder) as desk:
            desk.deal(STEP, self.tasks, 1.0)

    @property
    def ids(self):
        return [task.id for task in self.tasks]

    def of(self, name):
        """The tasks of one annotator."""
        return [task for task in self.tasks if task.annotator == name]

    def shown(self, style="jsonl"):
        """The task file that people were sent, as records."""
        path = self.folder / "shown"
        people_files.write_tasks(self.store, self.tasks, path, style)
        if style == "jsonl":
            # Not splitlines: texts hold U+2028.
            return [json.loads(line) for line in path.read_text().split("\n") if line]
        return json.loads(path.read_text())

    def file(self, name, content):
        """Write a file: bytes, text, a list of rows as JSON lines."""
        path = self.folder / name
        if isinstance(content, list):
            content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in content)
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    def give(self, *files, flags=("--commit",)):
        """`curate answers` with these files; (exit code, standard output, standard error)."""
        code = curate.main(["answers", str(self.folder), *map(str, files), *flags])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def take(self, name, content, flags=("--commit",)):
        """Write one file and give it."""
        return self.give(self.file(name, content), flags=flags)

    def stored(self):
        """(task, who) -> the current answer."""
        with open_desk(self.folder) as desk:
            return {(each.task, each.annotator): each for each in desk.answers(STEP)}

    def choices(self):
        """task -> choice, where each task has one answer."""
        return {task: answer.choice for (task, _), answer in self.stored().items()}


def counts(said):
    """(read, not read, missing) as the preview's first line says them."""
    pattern = r"\d+ tasks: (\d+) read, (\d+) not; missing: (\d+|none)"
    read, refused, missing = re.search(pattern, said).groups()
    return int(read), int(refused), 0 if missing == "none" else int(missing)
