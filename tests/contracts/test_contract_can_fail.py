"""The suite sees what is wrong: deployers that are broken in one way each, and the test that has to fail for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]

BROKEN = Path(__file__).with_name("broken_deployers.py")
ROOT = BROKEN.parents[2]
SEEN_BY = {
    "TestShell": ["test_arguments_and_stdin_arrive_as_they_are", "test_the_programs_name_is_no_shell_either"],
    "TestQuotesButNotAll": ["test_arguments_and_stdin_arrive_as_they_are"],
    "TestUnaudited": ["test_every_command_is_told_to_the_audit"],
    "TestCommandsGoOn": [
        "test_what_takes_too_long_is_killed_with_all_that_it_started",
        "test_what_is_cancelled_is_killed_with_all_that_it_started",
    ],
    "TestPutInPlace": [
        "test_readers_see_all_of_a_file_or_what_was_there_before",
        "test_a_put_that_is_cancelled_leaves_the_old_file_and_nothing_else",
    ],
    "TestModeless": ["test_modes"],
    "TestForgetfulLog": ["test_logs_while_it_runs_after_its_death_and_over_restarts"],
    "TestPausesInNameOnly": ["test_pause_and_resume_by_the_kernels_word"],
    "TestSaysGone": ["test_stop_asks_and_start_starts_again", "test_kill"],
    "TestLyingExits": ["test_kill", "test_an_end_that_nobody_asked_for_is_seen"],
    "TestWrongNeighbour": ["test_controller_and_nodes_reach_nodes"],
    "TestMovingEndpoints": ["test_addresses_stay_over_restarts"],
    "TestCutsBothWays": ["test_one_way_is_cut_and_the_other_is_not"],
    "TestCutsOthers": ["test_links_are_cut_one_by_one"],
    "TestNeverMends": ["test_connections_come_to_life_again_and_nothing_is_lost"],
    "TestShapesAddUp": ["test_a_shape_takes_the_place_of_another"],
    "TestHalfTheDelay": ["test_each_way_is_delayed"],
    "TestTwiceTheRate": ["test_a_rate_is_not_exceeded"],
    "TestTouches": ["test_inspecting_touches_nothing"],
    "TestBoasts": ["test_inspecting_touches_nothing"],
    "TestUnshielded": ["test_teardown_that_is_cancelled_is_carried_through"],
    "TestLeavesAfterErrors": ["test_a_failure_in_any_phase_leaves_nothing"],
    "TestCleansNothing": ["test_clean_removes_what_a_killed_controller_left"],
    "TestCleansForEver": ["test_clean_has_nothing_to_do_after_a_run_that_ended_well"],
    "TestNotExclusive": ["test_two_runs_at_once"],
}
BAD = {"failure", "error", "skipped"}
ALSO_RIGHT = {  # parameters for which a broken deployer does what it must
    "TestLyingExits": {"0"},
    "TestCleansNothing": {"began-0.0", "began-0.05", "began-0.2", "began-0.6", "deployed-0.0"},
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """ "CLASS::TEST[PARAMETER]" → what the inner pytest says of it."""
    folder = tmp_path_factory.mktemp("inner")
    chosen = [f"{BROKEN}::{name}::{test}" for name, tests in SEEN_BY.items() for test in tests]
    report = folder / "report.xml"
    alone = ("-c", "/dev/null", "--rootdir", str(folder), "--basetemp", str(folder / "tmp"), "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *alone, "-q", "--tb=short", "--durations=15", f"--junitxml={report}", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
        capture_output=True,
        text=True,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(report).iter("testcase")
    return {
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}": {child.tag for child in case} & BAD
        for case in cases
    }


@pytest.mark.parametrize("name", SEEN_BY)
def test_it_is_seen(outcomes: dict[str, set[str]], name: str) -> None:
    for test in SEEN_BY[name]:
        said = {
            key.removeprefix(f"{name}::"): wrong
            for key, wrong in outcomes.items()
            if key.split("[")[0] == f"{name}::{test}"
        }
        right = {f"{test}[{parameter}]" for parameter in ALSO_RIGHT.get(name, ())}
        assert said.keys() - right, f"{test} was not run"
        assert not [key for key, wrong in said.items() if key not in right and wrong != {"failure"}]
