"""The workflows: what each event calls with which rights and secrets, and that no event's text reaches a shell."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.call import flags, module
from pipeline import images

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
ACTION = GITHUB / "actions" / "slipway"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
SHA = "0123456789abcdef0123456789abcdef01234567"
# What a branch, tag, title or input may be called by somebody who means harm.
HOSTILE = (
    "$(touch OWNED)",
    "`touch OWNED`",
    "; touch OWNED #",
    "' && touch OWNED && '",
    '" && touch OWNED && "',
    "--progress=plain",
    "a b\tc\nd",
    "${{ github.token }}",
    "*",
)


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    document = {("on" if key is True else key): value for key, value in yaml.safe_load(path.read_text()).items()}
    return dict(document)


def workflows() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((GITHUB / "workflows").glob("*.yml")):
        yield path.name, load(path)


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, workflow in workflows():
        for job_name, job in workflow["jobs"].items():
            yield name, job_name, job


# What is called when

MAIN_ONLY = " && github.ref == format('refs/heads/{0}', github.event.repository.default_branch)"


def events_of(workflow: dict[str, Any], job: dict[str, Any]) -> list[str]:
    """Return the events on which a job runs. Its condition may name one event, and of a push the main branch."""
    triggers = [event for event in workflow["on"] if event != "workflow_call"]
    if "if" not in job:
        return triggers
    condition = re.fullmatch(r"github\.event_name == '(\w+)'", job["if"].removesuffix(MAIN_ONLY))
    assert condition, f"a condition that this table cannot read: {job['if']}"
    return [event for event in triggers if event == condition[1]]


def test_each_event_calls_its_task_with_its_rights_and_secrets_and_no_others():
    table = {}
    for name, workflow in workflows():
        for job in workflow["jobs"].values():
            calls = (step["with"] for step in job["steps"] if step.get("uses") == "$/.github/actions/slipway")
            task = next((call["task"] for call in calls), "./test")
            secrets = sorted(set(re.findall(r"secrets\.(\w+)", json.dumps(job))))
            rights = sorted(f"{right}: {level}" for right, level in job["permissions"].items())
            for event in events_of(workflow, job):
                table[name, event] = (task, rights, secrets, str(job.get("environment", "")))
    assert table == {
        ("ship.yml", "pull_request"): (
            "rehearse",
            ["contents: read", "pull-requests: write", "security-events: write"],
            [],
            "",
        ),
        ("ship.yml", "push"): (
            "stage",
            ["contents: read", "id-token: write", "packages: write", "security-events: write"],
            ["REGISTRY_PASSWORD", "SIGNING_KEY", "SIGNING_PASSWORD", "STAGING_KUBECONFIG"],
            "staging",
        ),
        ("ship.yml", "release"): (
            "promote",
            ["actions: read", "contents: read", "packages: read"],
            ["PRODUCTION_KUBECONFIG", "REGISTRY_PASSWORD", "STAGING_KUBECONFIG"],
            "production",
        ),
        **{
            ("scheduled.yml", event): (
                "rescan",
                ["contents: read", "issues: write", "packages: read", "security-events: write"],
                ["REGISTRY_PASSWORD", "RESCAN_KUBECONFIG", "RESCAN_PRODUCTION_KUBECONFIG"],
                "",
            )
            for event in ("schedule", "workflow_dispatch")
        },
        ("rollback.yml", "workflow_dispatch"): (
            "rollback",
            ["contents: read"],
            ["PRODUCTION_KUBECONFIG", "STAGING_KUBECONFIG"],
            "${{ inputs.environment }}",
        ),
        **{("test.yml", event): ("./test", ["contents: read"], [], "") for event in ("pull_request", "push")},
    }


def test_only_main_is_staged_and_only_a_published_release_is_promoted():
    triggers = load(GITHUB / "workflows" / "ship.yml")["on"]
    assert triggers["push"] == {"branches": ["main"]}
    # A workflow that calls this one may be started by any push.
    assert load(GITHUB / "workflows" / "ship.yml")["jobs"]["stage"]["if"].endswith(MAIN_ONLY)
    assert triggers["release"] == {"types": ["published"]}
    assert "pull_request_target" not in triggers


def test_the_projects_tests_run_by_its_own_command():
    workflow = load(GITHUB / "workflows" / "test.yml")
    assert workflow["on"] == {"pull_request": None, "push": {"branches": ["main"], "tags": ["v*"]}}
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".github/actions/slipway/install.sh", "./test"]


def test_nothing_is_allowed_that_no_job_asks_for():
    assert [name for name, workflow in workflows() if workflow["permissions"] != {}] == []
    assert [(name, job) for name, job, found in jobs() if "permissions" not in found] == []


def test_every_job_has_a_timeout_and_begins_by_watching_its_traffic():
    for name, job_name, job in jobs():
        assert job["timeout-minutes"] <= 60, (name, job_name)
        assert job["steps"][0]["uses"].startswith("step-security/harden-runner@"), (name, job_name)
        checkout = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@"))
        assert checkout["with"]["persist-credentials"] is False, (name, job_name)


def test_deployments_queue_and_are_never_cancelled():
    for name, job_name, job in jobs():
        limits = job["concurrency"]
        if name == "test.yml":
            assert limits["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
            continue
        assert limits.get("cancel-in-progress", False) is (job_name == "rehearse"), (name, job_name)
        changes = "environment" in job
        assert limits.get("queue") == ("max" if changes else None), (name, job_name)


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: str(path.relative_to(GITHUB)))
def test_every_action_is_pinned_by_commit_with_its_tag_beside_it(path: Path):
    for line in path.read_text().splitlines():
        if found := re.match(r"\s*-?\s*uses: (.*)", line):
            assert re.fullmatch(r"\$/\.github/actions/slipway|[\w/.-]+@[0-9a-f]{40} # v[\d.]+", found[1]), line


def test_renovate_knows_every_image_and_the_cli():
    managers = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
    patterns = [manager["matchStrings"][0].replace("(?<", "(?P<") for manager in managers]
    source = (ROOT / "pipeline" / "images.py").read_text()
    found = {match["depName"] for match in re.finditer(patterns[0], source)}
    assert found == {image.partition(":")[0] for image in vars(images).values() if "@sha256:" in str(image)}
    [cli] = re.finditer(patterns[1], (ACTION / "install.sh").read_text())
    assert f"v{cli['currentValue']}" == json.loads((ROOT / "dagger.json").read_text())["engineVersion"]


# Linters


def test_zizmor_has_nothing_to_say():
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [str(zizmor), "--offline", "--persona", "pedantic", str(GITHUB)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_actionlint_has_nothing_to_say():
    if not shutil.which("go"):
        pytest.skip("there is no go on PATH, by which actionlint is built")
    run = subprocess.run(["go", "run", ACTIONLINT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


# The shell


@pytest.fixture
def runner(tmp_path: Path) -> "Runner":
    return Runner(tmp_path)


class Runner:
    """A stand-in for GitHub's runner: its variables, and tools that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        self.work = folder / "work"
        self.temp = folder / "temp"
        for made in (self.bin, self.work, self.temp, self.temp / "slipway"):
            made.mkdir()
        self.env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_ACTOR": "ada",
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_PATH": str(folder / "path"),
            "GITHUB_REPOSITORY": "Org/App",
            "GITHUB_RUN_ID": "7",
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_SHA": SHA,
            "GITHUB_WORKFLOW_REF": "Org/App/.github/workflows/ship.yml@refs/tags/v1",
            "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token.example.com/?job=7",
            "RUNNER_TEMP": str(self.temp),
            "APPROVED_BY": "",
            "DEFAULT_BRANCH": "trunk",
            "DIGEST": "",
            "ENVIRONMENT": "",
            "MODULE": "",
            "REGISTRY": "",
            "REGISTRY_USERNAME": "",
            "SERVICE": "app",
            "WORKFLOW_REF": "Org/App/.github/workflows/ship.yml@refs/tags/v1@2",
            "WORKFLOW_SHA": SHA,
        }
        self.tool(
            "dagger",
            'mkdir -p slipway-report; echo "{\\"result\\": \\"${RESULT:-passed}\\"}" > slipway-report/report.json',
        )

    def tool(self, name: str, does: str) -> None:
        script = self.bin / name
        script.write_text(f'#!/usr/bin/env bash\nprintf "%s\\0" {name} "$@" END >> {self.calls}\n{does}\n')
        script.chmod(0o755)

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = str(ACTION / script)
        return subprocess.run([path], cwd=self.work, env=self.env | env, capture_output=True, text=True, check=False)

    def report(self, text: str, **document: object) -> None:
        folder = self.work / "slipway-report"
        folder.mkdir()
        (folder / "report.md").write_text(text)
        (folder / "report.json").write_text(json.dumps(document))

    def called(self, name: str) -> list[list[str]]:
        told = self.calls.read_text().split("\0END\0")[:-1] if self.calls.exists() else []
        return [call.split("\0")[1:] for call in told if call.split("\0")[0] == name]


REPORT = ["report", "export", "--path", "slipway-report"]
BEFORE = ["--progress", "plain", "call", "--mod", ".", "--source", ".", "--path", "app"]
ADDRESS = "https://github.example.com/Org/App"
POLICY = [
    *("with-verification", "--repository", ADDRESS, "--certificate-identity"),
    f"{ADDRESS}/.github/workflows/ship.yml@refs/heads/trunk",
    *("--ref", "refs/heads/trunk"),
]
PUBLISHING = ["with-registry", "--address", "ghcr.io/org/app/app", "--username", "ada", "--password"]
LINK = ["--link", "https://github.example.com/Org/App/actions/runs/7"]


def test_rehearse_publishes_nothing(runner: Runner):
    assert runner.run("run.sh", TASK="rehearse").returncode == 0
    assert runner.called("dagger") == [[*BEFORE, "ship", *REPORT]]


def test_stage_publishes_to_the_repositorys_own_registry_and_deploys(runner: Runner):
    assert runner.run("run.sh", TASK="stage").returncode == 0
    folder = f"file:{runner.temp}/slipway"
    publishing = [*PUBLISHING, f"{folder}/registry-password"]
    environment = ["with-environment", "--name", "staging", "--kubeconfig", f"{folder}/kubeconfig"]
    token = [
        "--request-url",
        "https://token.example.com/?job=7",
        "--request-token",
        "env:ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    ]
    assert runner.called("dagger") == [
        [*BEFORE, *publishing, *POLICY, "with-signer", *token, *environment, "ship", *LINK, *REPORT]
    ]


@pytest.mark.parametrize("task", ["rehearse", "stage", "promote", "rollback", "rescan"])
def test_each_task_calls_functions_that_the_module_has_with_their_options(runner: Runner, task: str):
    runner.tool("gh", "echo Ada")
    (runner.temp / "slipway" / "staging-kubeconfig").write_text("staging's")
    assert runner.run("run.sh", TASK=task, ENVIRONMENT="staging", DIGEST=f"sha256:{'0' * 64}").returncode == 0
    [call] = runner.called("dagger")
    arguments = call[call.index("call") + 1 :]
    module_option = arguments.index("--mod")
    del arguments[module_option : module_option + 2]
    flags.read_chain(arguments, module.load(ROOT).constructor)


@pytest.mark.parametrize("where", [".", "app"])
def test_a_repository_with_a_public_key_of_its_own_is_signed_with_that(runner: Runner, where: str):
    (runner.work / where).mkdir(exist_ok=True)
    (runner.work / where / "cosign.pub").write_text("the key")
    runner.tool("gh", "echo Ada")
    for task in ("stage", "promote"):
        assert runner.run("run.sh", TASK=task).returncode == 0
    stage, promote = runner.called("dagger")
    folder = f"file:{runner.temp}/slipway"
    key = ["--key", f"{folder}/signing-key", "--password", f"{folder}/signing-password"]
    policy = ["with-verification", "--repository", ADDRESS]
    start = len(BEFORE) + len(PUBLISHING) + 1
    assert stage[start:][: len(policy) + 6] == [*policy, "with-signer", *key, "with-environment"]
    assert promote[start:][: len(policy) + 1] == [*policy, "with-environment"]


def test_called_from_another_repository_the_workflow_brings_the_module_along_and_signs(runner: Runner):
    runner.tool("gh", "echo Ada")
    called = f"Owner/slipway/.github/workflows/ship.yml@{SHA}"
    for task in ("stage", "promote"):
        assert runner.run("run.sh", TASK=task, WORKFLOW_REF=called).returncode == 0
    for call in runner.called("dagger"):
        assert call[call.index("--mod") + 1] == f"github.com/Owner/slipway@{SHA}"
        assert call[call.index("--certificate-identity") + 1] == f"https://github.example.com/{called}"
        assert call[call.index("--repository") + 1] == ADDRESS
        assert call[call.index("--ref") + 1] == "refs/heads/trunk"


def test_an_older_github_that_does_not_tell_the_workflow_runs_the_repositorys_own(runner: Runner):
    assert runner.run("run.sh", TASK="stage", WORKFLOW_REF="").returncode == 0
    [call] = runner.called("dagger")
    assert call[call.index("--mod") + 1] == "."
    assert call[call.index("with-verification") :][: len(POLICY)] == POLICY


def test_a_workflow_of_ones_own_that_uses_the_action_says_where_the_module_is_and_who_signs(runner: Runner):
    given = {"MODULE": f"github.com/o/slipway@{SHA}", "CERTIFICATE_IDENTITY": "https://github.com/o/slipway/x.yml@abc"}
    assert runner.run("run.sh", TASK="stage", **given).returncode == 0
    [call] = runner.called("dagger")
    assert call[call.index("--mod") + 1] == given["MODULE"]
    assert call[call.index("--certificate-identity") + 1] == given["CERTIFICATE_IDENTITY"]


@pytest.mark.parametrize(
    ("service", "registry"),
    [(".", "ghcr.io/org/app"), ("services/API", "ghcr.io/org/app/api"), ("a", "ghcr.io/org/app/a")],
)
def test_each_service_of_a_repository_has_an_image_of_its_own(runner: Runner, service: str, registry: str):
    assert runner.run("run.sh", TASK="stage", SERVICE=service).returncode == 0
    [call] = runner.called("dagger")
    assert call[call.index("--address") + 1] == registry


def test_each_report_of_a_run_has_a_name_of_its_own_that_github_takes(runner: Runner):
    for service in ("services/a", "services/b", *HOSTILE):
        runner.run("run.sh", TASK="rescan", ENVIRONMENT="staging", SERVICE=service)
    names = (runner.folder / "output").read_text().splitlines()
    assert names[:2] == ["name=rescan-staging-services-a", "name=rescan-staging-services-b"]
    assert all(re.fullmatch(r"name=[\w.-]+", name) for name in names)
    assert len(names) == 2 + len(HOSTILE)


def test_promote_takes_the_released_commit_and_who_approved_it(runner: Runner):
    runner.tool("gh", "echo Grace, Ada")
    assert runner.run("run.sh", TASK="promote").returncode == 0
    folder = f"file:{runner.temp}/slipway"
    environments = [
        *("with-environment", "--name", "staging", "--kubeconfig", f"{folder}/kubeconfig"),
        *("with-environment", "--name", "production", "--kubeconfig", f"{folder}/kubeconfig"),
    ]
    verification = ["environment", "--name", "staging", "verification", "--commit", SHA]
    promote = ["promote", "--to", "production", "--approved-by", "Grace, Ada", *LINK, "smoke"]
    publishing = [*PUBLISHING, f"{folder}/registry-password"]
    assert runner.called("dagger") == [[*BEFORE, *publishing, *POLICY, *environments, *verification, *promote, *REPORT]]
    assert runner.called("gh")[0][:2] == ["api", "repos/Org/App/actions/runs/7/approvals"]


def test_to_another_cluster_the_verification_is_read_from_stagings(runner: Runner):
    runner.tool("gh", "echo Ada")
    (runner.temp / "slipway" / "staging-kubeconfig").write_text("staging's")
    assert runner.run("run.sh", TASK="promote").returncode == 0
    [call] = runner.called("dagger")
    configs = [call[n + 1].rpartition("/")[2] for n, word in enumerate(call) if word == "--kubeconfig"]
    assert configs == ["staging-kubeconfig", "kubeconfig"]
    names = [call[n + 1] for n, word in enumerate(call) if word == "--name"]
    assert names == ["staging", "production", "staging"]


def test_where_github_cannot_be_asked_who_approved_nothing_is_promoted(runner: Runner):
    runner.tool("gh", "exit 1")
    assert runner.run("run.sh", TASK="promote").returncode != 0
    assert runner.called("dagger") == []


def test_rescan_scans_the_running_release(runner: Runner):
    assert runner.run("run.sh", TASK="rescan", ENVIRONMENT="production").returncode == 0
    folder = f"file:{runner.temp}/slipway"
    publishing = [*PUBLISHING, f"{folder}/registry-password"]
    environment = ["with-environment", "--name", "production", "--kubeconfig", f"{folder}/kubeconfig"]
    live = ["environment", "--name", "production", "live", "rescan"]
    assert runner.called("dagger") == [[*BEFORE, *publishing, *environment, *live, *REPORT]]


TITLE = "Slipway: the scan of app in production"
ISSUES = [
    {"number": 7, "title": TITLE, "author": {"is_bot": False}},  # somebody's, who opened it first
    {"number": 8, "title": "other", "author": {"is_bot": True}},
    {"number": 9, "title": TITLE, "author": {"is_bot": True}},
]
ISSUE = json.dumps(ISSUES)
BODY = ["--body-file", "slipway-report/body.md"]
CREATE = ["issue", "create", "--repo", "Org/App", "--title", TITLE, *BODY]
CLOSE = ["issue", "close", "9", "--repo", "Org/App", "--comment", "The scan of today found nothing."]
WARNING = ["the ignore of CVE-2026-1 expires on 2026-12-01"]


@pytest.mark.parametrize(
    ("result", "warnings", "issues", "call"),
    [
        ("failed", [], "[]", CREATE),
        ("failed", [], ISSUE, ["issue", "edit", "9", "--repo", "Org/App", *BODY]),
        ("passed", WARNING, "[]", CREATE),
        ("passed", [], ISSUE, CLOSE),
        ("passed", [], "[]", None),
    ],
)
def test_one_issue_tells_of_findings_and_of_ignores_that_expire_while_there_are_any(
    runner: Runner, result: str, warnings: list[str], issues: str, call: list[str] | None
):
    runner.tool("gh", f"test $2 != list || echo '{issues}'")
    runner.report("# the report", result=result, scan={"warnings": warnings})
    assert runner.run("issue.sh", ENVIRONMENT="production").returncode == 0
    assert runner.called("gh")[1:] == ([call] if call else [])
    if call and call is not CLOSE:
        assert "# the report" in (runner.work / "slipway-report" / "body.md").read_text()


def test_an_issue_of_the_same_name_by_another_author_is_left_alone(runner: Runner):
    runner.tool("gh", f"test $2 != list || echo '{json.dumps(ISSUES[:1])}'")
    runner.report("# the report", result="failed")
    assert runner.run("issue.sh", ENVIRONMENT="production").returncode == 0
    assert runner.called("gh")[1:] == [CREATE]


def test_a_report_that_the_repository_holds_is_not_taken_for_that_of_the_run(runner: Runner):
    steps = load(ACTION / "action.yml")["runs"]["steps"]
    runner.report("# all is well", result="passed")
    subprocess.run(["bash", "-c", steps[0]["run"]], cwd=runner.work, check=True)
    assert not list(runner.work.iterdir())


def test_a_scan_that_never_was_says_so_too(runner: Runner):
    runner.tool("gh", "echo []")
    runner.report("# the report", result="failed", scan=None)
    assert runner.run("issue.sh", ENVIRONMENT="production").returncode == 0
    assert runner.called("gh")[1:] == [CREATE]


def test_a_task_that_is_none_is_refused(runner: Runner):
    run = runner.run("run.sh", TASK="destroy")
    assert run.returncode == 2
    assert "task 'destroy' is unknown" in run.stderr
    assert runner.called("dagger") == []


def test_a_shipment_that_failed_fails_the_job(runner: Runner):
    assert runner.run("run.sh", TASK="rehearse", RESULT="failed").returncode != 0


def test_a_module_that_could_not_be_called_fails_the_job(runner: Runner):
    runner.tool("dagger", "exit 1")
    assert runner.run("run.sh", TASK="rehearse").returncode == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_what_an_event_says_reaches_the_module_as_one_argument(runner: Runner, text: str):
    names = (
        "DEFAULT_BRANCH",
        "DIGEST",
        "ENVIRONMENT",
        "MODULE",
        "SERVICE",
        "CERTIFICATE_IDENTITY",
        "WORKFLOW_REF",
        "WORKFLOW_SHA",
    )
    given = dict.fromkeys(names, text)
    for task in ("rollback", "stage"):
        assert runner.run("run.sh", TASK=task, REGISTRY=text, REGISTRY_USERNAME=text, **given).returncode == 0
    rollback, stage = runner.called("dagger")
    assert rollback[rollback.index("--digest") + 1] == text
    assert rollback[rollback.index("--name") + 1] == text
    assert stage[stage.index("--address") + 1] == text
    assert stage[stage.index("--username") + 1] == text
    assert stage[stage.index("--mod") + 1] == text
    assert stage[stage.index("--certificate-identity") + 1] == text
    assert not list(runner.folder.rglob("OWNED"))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_task_or_an_approver_of_any_name_runs_nothing(runner: Runner, text: str):
    runner.tool("gh", "cat <<'EOF'\n" + text + "\nEOF")
    assert runner.run("run.sh", TASK=text).returncode == 2
    assert runner.run("run.sh", TASK="promote").returncode == 0
    [call] = runner.called("dagger")
    assert call[call.index("--approved-by") + 1] == text.rstrip("\n")
    assert not list(runner.folder.rglob("OWNED"))


def test_no_shell_script_contains_an_expression():
    for path in (ACTION / "action.yml", *(GITHUB / "workflows").glob("*.yml")):
        document = load(path)
        steps = document["runs"]["steps"] if "runs" in document else [s for _, _, job in jobs() for s in job["steps"]]
        assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("text", HOSTILE)
def test_secrets_are_written_as_they_are_and_only_this_job_reads_them(runner: Runner, text: str):
    (runner.temp / "slipway").rmdir()
    [step] = [s for s in load(ACTION / "action.yml")["runs"]["steps"] if "secrets where" in s.get("name", "")]
    names = ("KUBECONFIG_TEXT", "STAGING_KUBECONFIG_TEXT", "REGISTRY_PASSWORD", "SIGNING_KEY", "SIGNING_PASSWORD")
    given = dict.fromkeys(names, text)
    assert set(step["env"]) == set(given)
    run = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=runner.work,
        env=runner.env | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout + run.stderr == ""
    for name in ("kubeconfig", "staging-kubeconfig", "registry-password", "signing-key", "signing-password"):
        written = runner.temp / "slipway" / name
        assert written.read_text() == text
        assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert not list(runner.folder.rglob("OWNED"))


def test_a_cli_with_another_checksum_is_not_installed(runner: Runner):
    runner.tool("curl", f"echo malware > {runner.temp}/dagger.tar.gz")
    runner.tool("uname", "echo x86_64")
    run = runner.run("install.sh")
    assert run.returncode != 0
    assert "FAILED" in run.stdout + run.stderr
    assert not (runner.folder / "path").exists()
    assert not (runner.temp / "dagger").exists()


def test_a_machine_without_a_pinned_cli_gets_an_error(runner: Runner):
    runner.tool("uname", "echo riscv64")
    run = runner.run("install.sh")
    assert run.returncode == 1
    assert "no Dagger CLI is pinned for riscv64" in run.stderr


def test_the_cli_is_of_the_modules_own_version():
    version = re.search(r"(?m)^version=(.+)$", (ACTION / "install.sh").read_text())
    assert version
    assert f"v{version[1]}" == json.loads((ROOT / "dagger.json").read_text())["engineVersion"]


# What people see of it

COMMENTS = "repos/Org/App/issues/3/comments"
MARK = "<!-- slipway: app -->"


def comment(number: int, body: str, kind: str = "Bot") -> dict[str, Any]:
    return {"id": number, "body": body, "user": {"type": kind}}


@pytest.mark.parametrize(
    ("pages", "call"),
    [
        ([[]], ["POST", COMMENTS]),
        (
            [[comment(1, "another workflow's")], [comment(2, f"{MARK}\nold")]],
            ["PATCH", "repos/Org/App/issues/comments/2"],
        ),
        ([[comment(1, "<!-- slipway: other -->\nof another service")]], ["POST", COMMENTS]),
        ([[comment(1, f"{MARK}\na person's, who quotes it", "User")]], ["POST", COMMENTS]),
    ],
)
def test_one_comment_for_each_service_is_kept_up_to_date(
    runner: Runner, pages: list[list[dict[str, Any]]], call: list[str]
):
    runner.tool("gh", f"test $2 != --paginate || echo '{json.dumps(pages).replace(chr(39), '')}'")
    runner.report("# told")
    done = runner.run("comment.sh", NUMBER="3")
    assert done.returncode == 0, done.stderr
    asked, told = runner.called("gh")
    assert asked == ["api", "--paginate", "--slurp", COMMENTS]
    assert told == ["api", "--silent", "--method", *call, "--field", "body=@slipway-report/body.md"]
    assert (runner.work / "slipway-report" / "body.md").read_text() == f"{MARK}\n# told\n"


def test_without_a_report_there_is_no_comment(runner: Runner):
    runner.tool("gh", "true")
    assert runner.run("comment.sh", NUMBER="3").returncode == 0
    assert runner.called("gh") == []


def test_a_report_that_is_longer_than_github_takes_is_cut(runner: Runner):
    runner.tool("gh", "test $2 != --paginate || echo '[[]]'")
    runner.report("é" * 100_000)
    assert runner.run("comment.sh", NUMBER="3").returncode == 0
    body = (runner.work / "slipway-report" / "body.md").read_text()
    assert 60_000 < len(body) < 65_536
    assert body.endswith("… the rest stands in the report, an artifact of the run.\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_service_of_any_name_is_reported_and_runs_nothing(runner: Runner, text: str):
    runner.tool("gh", "case $2 in --paginate) echo '[[]]' ;; list) echo '[]' ;; esac")
    runner.report("# told", result="failed")
    for script in ("comment.sh", "issue.sh"):
        done = runner.run(script, NUMBER="3", SERVICE=text, ENVIRONMENT=text)
        assert done.returncode == 0, done.stderr
    create = runner.called("gh")[-1]
    assert create[create.index("--title") + 1] == f"Slipway: the scan of {text} in {text}"
    assert not list(runner.folder.rglob("OWNED"))
