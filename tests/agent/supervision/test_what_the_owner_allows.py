"""The allow-list: what it lets be started, and how it refuses the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models_app.agent.supervision.files import list_models
from models_app.agent.supervision.spec import ServerSpec
from models_app.backends.errors import InvalidName, InvalidOption, NotAllowed
from tests.agent.supervision.conftest import load
from tests.fixtures.managed import Machine


async def test_without_the_file_nothing_may_be_started(machine: Machine) -> None:
    machine.allow_file.unlink()
    backend = machine.backend()
    with pytest.raises(NotAllowed, match="there is no file"):
        await load(backend)
    await backend.aclose()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model_folders = [", "is no TOML"),
        ("model_folder = []", "no setting 'model_folder'"),
        ('model_folders = ["models"]', "write whole paths"),
        ('model_folders = ["/a/../b"]', "write whole paths"),
        ("model_folders = [3]", "list of texts"),
        ("ports = [80, 90]", "ports is a range"),
        ("ports = [20000, 19000]", "ports is a range"),
        ('flags = ["--api-key"]', "set by Berth itself"),
        ("start_seconds = 0", "number of seconds"),
        ("llama_server = 3", "table of texts"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_wrong_allows_nothing_and_says_why(machine: Machine, text: str, sentence: str) -> None:
    machine.allow_file.write_text(text)
    with pytest.raises(NotAllowed, match=sentence):
        machine.supervisor().allowed()


def test_a_file_that_everybody_may_write_is_not_heeded(machine: Machine) -> None:
    machine.allow_file.chmod(0o666)
    with pytest.raises(NotAllowed, match="everybody may write it"):
        machine.supervisor().allowed()


def test_it_is_read_anew_at_each_start(machine: Machine) -> None:
    supervisor = machine.supervisor()
    assert supervisor.allowed().flags == frozenset()
    machine.allow(flags=["--mlock"])
    assert supervisor.allowed().flags == {"--mlock"}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("{models}/../secret.gguf", "without “..”"),
        ("tiny.gguf", "by its whole path"),
        ("{root}/secret.gguf", "outside of the model folders"),
        ("{models}/link.gguf", "outside of the model folders"),
        ("{models}/linked/secret.gguf", "outside of the model folders"),
        ("{models}/absent.gguf", "cannot be read"),
        ("{models}/notes.txt", "is no GGUF file"),
        ("{models}", "is no GGUF file"),
        ("{models}/a\0b.gguf", "by its whole path"),
    ],
)
def test_a_model_outside_of_the_folders_is_refused_however_it_is_spelt(machine: Machine, path: str, sentence: str) -> None:
    outside = machine.root / "elsewhere"
    outside.mkdir()
    for secret in (machine.root / "secret.gguf", outside / "secret.gguf"):
        secret.write_bytes(b"GGUF")
    (machine.models / "link.gguf").symlink_to(machine.root / "secret.gguf")
    (machine.models / "linked").symlink_to(outside)
    (machine.models / "notes.txt").write_text("no model")
    with pytest.raises(NotAllowed, match=sentence):
        machine.command(model=path.format(models=machine.models, root=machine.root))


def test_a_link_within_the_folders_is_followed(machine: Machine) -> None:
    (machine.models / "other.gguf").symlink_to(machine.models / "tiny.gguf")
    argv = machine.command(model=str(machine.models / "other.gguf"))
    assert argv[argv.index("--model") + 1] == str(machine.models / "tiny.gguf")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--no-mmap",), "does not allow the flag --no-mmap"),
        (("--mlock", "--no-mmap"), "does not allow the flag --no-mmap"),
        (("--no-mmap=1",), "does not allow the flag --no-mmap"),
        (("--host", "0.0.0.0"), "does not allow the flag --host"),
        (("value",), "follows no flag"),
        (("--seed", "1", "2"), "follows no flag"),
    ],
)
def test_a_flag_that_is_not_listed_is_refused(machine: Machine, words: tuple[str, ...], sentence: str) -> None:
    machine.allow(flags=["--mlock", "--seed"])
    with pytest.raises(NotAllowed, match=sentence):
        machine.command(extra=words)


def test_a_listed_flag_is_passed_with_its_value_as_it_is(machine: Machine) -> None:
    machine.allow(flags=["--mlock", "--seed"])
    assert machine.command(extra=("--mlock", "--seed", "-1"))[-3:] == ("--mlock", "--seed", "-1")
    assert machine.command(extra=("--seed", "$(touch x); `y`"))[-1] == "$(touch x); `y`"


def test_a_program_that_everybody_may_write_is_not_started(machine: Machine) -> None:
    (machine.root / "llama-server").chmod(0o777)
    with pytest.raises(NotAllowed, match="only its owner writes"):
        machine.command()
    (machine.root / "llama-server").chmod(0o644)
    with pytest.raises(NotAllowed, match="only its owner writes"):
        machine.command()
    with pytest.raises(NotAllowed, match="names no llama-server nightly"):
        machine.command(binary="nightly")


@pytest.mark.parametrize(
    "settings",
    [
        {"context_length": 0},
        {"parallel": 5000},
        {"context_length": 100_000_000, "parallel": 2},
        {"gpus": ("GPU-1", "GPU-1")},
        {"gpus": ("GPU-1,GPU-2",)},
        {"gpus": "GPU-1"},
        {"cache_type_k": "f16 --host 0.0.0.0"},
        {"threads": -1},
        {"extra": ("--mlock\n--host",)},
        {"extra": ("--mlock",) * 100},
    ],
)
def test_values_that_make_no_sense_are_refused(machine: Machine, settings: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        machine.command(**settings)


@pytest.mark.parametrize("key", ["", "../x", "A", "a/b", "a" * 41])
def test_a_key_is_a_plain_word(machine: Machine, key: str) -> None:
    with pytest.raises(InvalidName):
        machine.supervisor().server(key)


@pytest.mark.parametrize("value", [{}, {"name": 3, "model": "/m"}, {"name": "a", "model": "/m", "threads": "many"}])
def test_a_spec_from_elsewhere_is_checked(value: dict[str, object]) -> None:
    with pytest.raises((InvalidOption, InvalidName)):
        ServerSpec.from_json(value)


def test_a_folder_of_ten_thousand_files_is_listed_in_bounds_and_can_be_searched(machine: Machine) -> None:
    folder = machine.models / "many"
    folder.mkdir()
    for number in range(10_000):
        os.close(os.open(folder / f"model-{number:05}.gguf", os.O_CREAT))
    allowed = machine.supervisor().allowed()
    everything = list_models(allowed)
    some = list_models(allowed, "MANY 0777")
    assert (len(everything.files), everything.is_complete) == (1000, False)
    assert [Path(file.path).name for file in some.files][:2] == ["model-00777.gguf", "model-07770.gguf"]
    assert len(some.files) == 11
    assert some.is_complete


def test_a_split_model_is_one_file_with_the_size_of_all_and_links_out_are_left_out(machine: Machine) -> None:
    for number in (1, 2):
        (machine.models / f"big-0000{number}-of-00002.gguf").write_bytes(bytes(100))
    (machine.root / "secret.gguf").write_bytes(b"GGUF")
    (machine.models / "link.gguf").symlink_to(machine.root / "secret.gguf")
    files = {Path(file.path).name: file.size_bytes for file in list_models(machine.supervisor().allowed()).files}
    assert files == {"big-00001-of-00002.gguf": 200, "tiny.gguf": 1000}
