from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

import aegis_store

AEGIS = [sys.executable, "-P", "-c", "from aegis_store.cli import main; main()"]


def test_the_version_is_the_package_s(aegis):
    assert aegis("--version") == (0, f"aegis {aegis_store.__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_each_verb_and_the_exit_codes(aegis, option):
    ended = aegis(option)
    assert ended.code == 0
    assert "Exit codes: 0 fine, 1 " in ended.out
    verbs = [line.split() for line in ended.out.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
    assert {words[0] for words in verbs} >= {"verify", "head", "demo"}
    # Each verb's line is short enough to be shown whole.
    assert [words[-1] for words in verbs if words[-1].endswith("...")] == []


def test_help_comes_without_what_only_verbs_need():
    code = (
        "import sys\nsys.argv[1:] = ['--help']\n"
        "from aegis_store.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = ('rich.console', 'rich.live', 'aegis_store.cli.demo.story', 'aegis_store.cli.demo.lives')\n"
        "sys.exit(code or ', '.join(name for name in heavy if name in sys.modules) or None)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_without_a_verb_there_is_help_and_a_usage_error(aegis):
    ended = aegis()
    assert ended.code == 2
    assert "verify" in ended.out + ended.err


@pytest.mark.parametrize("arguments", [["frobnicate"], ["verify"], ["verify", "a", "b"], ["head", "a", "--nope"]])
def test_usage_errors_are_exit_code_2(aegis, arguments):
    ended = aegis(*arguments)
    assert ended.code == 2
    assert "Usage: aegis" in ended.err


def test_ctrl_c_ends_with_130_and_one_line(aegis, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(aegis_store, "open", interrupted)
    assert aegis("verify", "state") == (130, "", "aegis: interrupted\n")


def test_a_terminal_without_the_characters_gets_question_marks(store):
    ran = subprocess.run(
        [*AEGIS, "verify", str(store)],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": "", "COLUMNS": "80"},
    )
    assert ran.returncode == 0
    assert b"records ? " in ran.stdout


def test_ctrl_c_in_a_running_process_is_one_line(tmp_path):
    process = subprocess.Popen(
        [*AEGIS, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"TMPDIR": str(tmp_path)}
    )
    assert process.stderr is not None
    with process:
        while not list(tmp_path.glob("aegis-demo-*/state")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"aegis: interrupted\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("sessions", "--json"), ("sessions", "state", "--json", "--limit", "x"), ("nothing", "--json")]
)
def test_a_command_line_that_cannot_be_taken_is_json_where_json_was_asked_for(arguments):
    done = subprocess.run([sys.executable, "-P", "-m", "aegis_store", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    said = json.loads(done.stderr)
    assert (said["error"], said["exit_code"]) == ("InvalidArgument", 2)
    assert said["message"]
