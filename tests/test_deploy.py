"""What is in `deploy/`, and the command lines of its pages, are as the code has them. Nothing is deployed here."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pipeline import cli
from pipeline.commands.engine_options import FLINKS, _parser_of_beam, mistyped
from pipeline.commands.engines import wrong_engine

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGES = [DEPLOY / "README.md", ROOT / "docs" / "streaming.md"]
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SCRIPTS = sorted(DEPLOY.rglob("*.sh"))


def accept(words: list[str]) -> None:
    """Parse a command line as the product does; options of Beam have to be Beam's, or Flink's."""
    args = cli._parsed(words)
    unknown = _parser_of_beam().parse_known_args(args.beam_arguments)[1]
    assert {word.partition("=")[0] for word in unknown} <= {*FLINKS}
    if getattr(args, "streaming", False) and len(words) > 2:  # `profilecast run --streaming` is a name
        # That of Dataflow is not installed where this runs.
        assert "" == (mistyped(args) if args.runner == "DataflowRunner" else wrong_engine(args))


# -- pages
def lines_of(page: Path) -> Iterator[str]:
    """Command lines in blocks of bash, and those that stand alone in backticks."""
    text = page.read_text("utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`(profilecast [^`\n]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands_of(page: Path) -> list[str]:
    return [line for line in lines_of(page) if re.match(r"\s*profilecast ", line) and "…" not in line]


def words_of(line: str) -> list[str]:
    """The arguments of `profilecast`, as a shell would give them to it; the rest of the line is another command's."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if re.fullmatch(r"[|&;<>]+", word):
            break
        found.append(word)
    return found[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_of_pages_are_accepted(page: Path) -> None:
    commands = commands_of(page)
    assert commands, "the pages should show how it is used"
    for command in commands:
        words = words_of(command)
        if len(words) > 1:  # `profilecast send` alone is a name
            accept(words)


def test_a_wrong_option_on_a_page_would_be_found() -> None:
    with pytest.raises(AssertionError):
        accept(words_of("profilecast run --streaming --log kafka://k/x --checkpoint-interval=1 # no such option"))
    with pytest.raises(SystemExit):
        accept(words_of("profilecast send --log kafka://k/x --replicas 3 &"))


@pytest.mark.parametrize("command", ["run", "publish", "send"])
def test_every_option_of_the_job_is_on_its_page(command: str) -> None:
    parser = cli._parser([command])
    (commands,) = [each for each in parser._actions if isinstance(each.choices, dict)]
    assert isinstance(commands.choices, dict)
    groups = commands.choices[command]._action_groups
    streaming = ("streaming (docs/streaming.md)", "Kafka")
    chosen = [each for each in groups if command != "run" or each.title in streaming]
    options = {name for group in chosen for action in group._group_actions for name in action.option_strings}
    page = PAGES[1].read_text("utf-8")
    assert [] == [name for name in sorted(options - {"-h", "--help"}) if f"`{name}" not in page]


# -- manifests
def containers(manifest: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(manifest.read_text("utf-8")):
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        yield from [*pod.get("initContainers", ()), *pod.get("containers", ())]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_yaml_of_kubernetes(manifest: Path) -> None:
    for document in yaml.safe_load_all(manifest.read_text("utf-8")):
        assert document["apiVersion"]
        assert document["kind"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", document["metadata"]["name"])
        spec = document.get("spec", {})
        if "matchLabels" in spec.get("selector", {}) and "template" in spec:
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_commands_of_manifests_are_accepted(manifest: Path) -> None:
    for container in containers(manifest):
        if container.get("command", [""])[0] == "profilecast":
            accept([*container["command"][1:], *container.get("args", ())])


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_what_manifests_mount_is_there_and_nothing_else(manifest: Path) -> None:
    for document in yaml.safe_load_all(manifest.read_text("utf-8")):
        pod = document.get("spec", {}).get("template", {}).get("spec")
        if pod is None:
            continue
        volumes = {each["name"] for each in pod.get("volumes", ())}
        volumes |= {each["metadata"]["name"] for each in document["spec"].get("volumeClaimTemplates", ())}
        used = [*pod.get("initContainers", ()), *pod["containers"]]
        assert volumes == {mount["name"] for each in used for mount in each.get("volumeMounts", ())}


def test_senders_and_the_service_are_asked_whether_they_are_well() -> None:
    for name, port in (("serve.yaml", "8807"), ("send.yaml", "8807")):
        (container,) = containers(DEPLOY / "kubernetes" / name)
        for probe in ("readinessProbe", "livenessProbe"):
            assert f"127.0.0.1:{port}/healthz" in container[probe]["exec"]["command"][-1]


def test_only_senders_have_secrets_of_vendors() -> None:
    with_vendors = {
        container["name"]
        for manifest in MANIFESTS
        for container in containers(manifest)
        for source in container.get("envFrom", ())
        if source.get("secretRef", {}).get("name") == "profilecast-vendors"
    }
    assert {"serve", "send"} == with_vendors


def test_the_service_is_one_process() -> None:
    (document,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "serve.yaml").read_text("utf-8"))
    assert (1, "StatefulSet") == (document["spec"]["replicas"], document["kind"])


def test_the_configuration_of_flink_is_flat() -> None:
    found = yaml.safe_load((DEPLOY / "flink" / "flink-conf.yaml").read_text("utf-8"))
    assert [] == [name for name, value in found.items() if isinstance(value, dict | list)]
    assert "rocksdb" == found["state.backend.type"]


OF_JOB_SERVER = {8098, 8099}  # Beam's: artifacts and jobs


def ports_in(found: Any) -> Iterator[int]:
    """Every port that a part of a manifest names."""
    for name, value in found.items() if isinstance(found, dict) else enumerate(found):
        if name in ("port", "targetPort", "containerPort"):
            yield value
        elif isinstance(value, dict | list):
            yield from ports_in(value)


def test_flink_listens_where_it_is_looked_for() -> None:
    """A port that is not in the configuration is another one at each start: Kubernetes would end a TaskManager."""
    configuration = yaml.safe_load((DEPLOY / "flink" / "flink-conf.yaml").read_text("utf-8"))
    ports = {value for name, value in configuration.items() if name.endswith(".port")}
    named: dict[str, set[int]] = {}
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "flink.yaml").read_text("utf-8")):
        named.setdefault(document["metadata"]["name"], set()).update(ports_in(document))
    assert OF_JOB_SERVER == named["flink-job-server"]
    assert {configuration["taskmanager.rpc.port"]} == named["flink-taskmanager"]
    assert ports - named["flink-taskmanager"] == named["flink-jobmanager"]
    assert ports | OF_JOB_SERVER == set().union(*named.values())


# -- scripts
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


ENVIRONMENT = {
    "WORKSPACE": "workspace.yaml", "LOG": "kafka://k:9092/shop", "EVENTS": "kafka://k:9092/a kafka://k:9092/b",
    "PARALLELISM": "4", "WORKERS": "2", "JOB_SERVER_JAR": "job-server.jar", "JOB_ENDPOINT": "flink:8099",
}  # fmt: skip


def called(tmp_path: Path, name: str, script: str, *arguments: str, **more: str) -> list[str]:
    """The arguments with which a script calls a program of this name."""
    program = tmp_path / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), os.environ["PATH"]))
    environment = {"PATH": path, "FLINK_HOME": str(tmp_path), **ENVIRONMENT, **more}
    command = ["bash", str(DEPLOY / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("more", [{}, {"KAFKA_OPTIONS": "kafka.properties"}])
def test_the_session_submission_is_accepted(tmp_path: Path, more: dict[str, str]) -> None:
    words = called(tmp_path, "profilecast", "flink/submit_session.sh", "--bootstrap", **more)
    accept(words)
    args = cli._parsed(words)
    assert ["kafka://k:9092/a", "kafka://k:9092/b"] == args.events
    assert (True, True, "changelog") == (args.streaming, args.detach, args.bootstrap)


def test_the_application_is_made_into_a_jar(tmp_path: Path) -> None:
    words = called(
        tmp_path, "profilecast", "flink/submit_application.sh", "jar", "job.jar", "--savepoint_path=s3://b/s"
    )
    accept(words)
    assert "--output_executable_path=job.jar" in words


def test_the_application_is_started(tmp_path: Path) -> None:
    start = ["start", "kubernetes-application", "local:///job.jar", "-Dkubernetes.cluster-id=shop"]
    words = called(tmp_path, "bin/flink", "flink/submit_application.sh", *start)
    expected = ["run-application", "--target", "kubernetes-application", "-Dkubernetes.cluster-id=shop"]
    assert [*expected, "local:///job.jar"] == words


ASKED = [("flink/submit_session.sh", "JOB_ENDPOINT"), ("flink/submit_application.sh", "JOB_SERVER_JAR")]
ASKED += [(script, name) for script, _ in ASKED for name in ("WORKSPACE", "LOG", "EVENTS", "PARALLELISM", "WORKERS")]


@pytest.mark.parametrize(("script", "missing"), ASKED)
def test_what_a_script_is_not_told_it_asks_for(tmp_path: Path, script: str, missing: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        called(tmp_path, "profilecast", script, "jar", "job.jar", **{missing: ""})
    assert missing in failed.value.stderr


DATAFLOW = {
    "PROJECT": "my-project",
    "REGION": "europe-west1",
    "TEMPLATE": "gs://b/t.json",
    "IMAGE": "flex:1",
}


def test_parameters_of_the_template_may_have_commas(tmp_path: Path) -> None:
    given = ["run", "shop", "log=kafka://a:9092,b:9092/shop", "start=latest"]
    words = called(tmp_path, "gcloud", "dataflow/build_and_run.sh", *given, **DATAFLOW)
    assert "shop" == words[3]
    expected = "^~^sdk_container_image=flex:1~log=kafka://a:9092,b:9092/shop~start=latest"
    assert expected == words[words.index("--parameters") + 1]
    assert "--update" not in words
    assert "--update" in called(tmp_path, "gcloud", "dataflow/build_and_run.sh", "update", *given[1:], **DATAFLOW)


# -- Dataflow
def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", DEPLOY / "dataflow" / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


METADATA = json.loads((DEPLOY / "dataflow" / "metadata.json").read_text("utf-8"))
GIVEN = {
    "workspace": "gs://b/w.yaml", "log": "kafka://a:9092,b:9092/shop", "kafka_options": "gs://b/k.properties",
    "events": "kafka://a:9092/x pubsub://projects/my-project/subscriptions/y", "start": "2026-01-31T00:00:00Z",
    "partitions": "64", "bootstrap": "true", "accept_changes": "false", "mask_dead_letters": "true",
}  # fmt: skip


def test_parameters_of_the_template_are_described() -> None:
    names = [each["name"] for each in METADATA["parameters"]]
    assert sorted(GIVEN) == sorted(names)
    for each in METADATA["parameters"]:
        assert {"label", "helpText"} <= set(each)
        for regex in each.get("regexes", ()):
            assert re.fullmatch(regex, GIVEN[each["name"]]), each["name"]


def test_parameters_of_the_template_become_a_command_line() -> None:
    launch = module("launch")
    assert {*launch.TEXTS, *launch.FILES, *launch.SWITCHES, *launch.SEVERAL} == set(GIVEN)
    given = [*(f"--{name}={value}" for name, value in GIVEN.items()), "--runner=DataflowRunner", "--job_name=shop"]
    words = launch.command([*given, "--template_location=gs://b/job"], lambda place: f"/fetched/{place[5:]}")
    accept(words)
    args = cli._parsed(words)
    assert "/fetched/b/w.yaml" == args.workspace
    assert Path("/fetched/b/k.properties") == args.kafka_options
    assert GIVEN["events"].split() == args.events
    switches = (args.bootstrap, args.accept_changes, args.mask_dead_letters)
    assert ("changelog", False, True, 64) == (*switches, args.partitions)
    assert ["--job_name=shop", "--template_location=gs://b/job"] == args.beam_arguments


def test_a_parameter_that_was_left_empty_is_left_out() -> None:
    words = module("launch").command(["--workspace=w", "--start=", "--kafka_options=", "--bootstrap="], str)
    assert ["run", "--streaming", "--runner=DataflowRunner", "--workspace=w"] == words


def test_a_switch_that_is_neither_true_nor_false_is_said() -> None:
    with pytest.raises(ValueError, match="bootstrap: 'yes' is neither true nor false"):
        module("launch").command(["--bootstrap=yes"], str)


def test_secrets_come_into_the_environment_of_a_worker() -> None:
    name = "projects/p/secrets/kafka/versions/latest"
    environment = {"PROFILECAST_SECRETS": f"KAFKA_PASSWORD={name}"}
    module("credentials").fill(environment, {name: "hush"}.__getitem__)
    assert "hush" == environment["KAFKA_PASSWORD"]


@pytest.mark.parametrize("text", ["KAFKA_PASSWORD", "KAFKA_PASSWORD=hush", "1=projects/p/secrets/s/versions/1"])
def test_secrets_that_are_named_wrongly_are_said(text: str) -> None:
    with pytest.raises(ValueError, match="is not like NAME=projects/P/secrets/S/versions/latest"):
        module("credentials").parsed(text)


# -- images
@pytest.mark.parametrize("dockerfile", ["worker.Dockerfile", "dataflow/Dockerfile"])
def test_what_an_image_copies_is_there(dockerfile: str) -> None:
    for line in (DEPLOY / dockerfile).read_text("utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert [] == [name for name in line.split()[1:-1] if not (ROOT / name).exists()]


def test_the_workers_have_the_beam_that_is_tested() -> None:
    pinned = re.search(r"^apache-beam==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned
    assert f"beam_python3.11_sdk:{pinned[1]}\n" in (DEPLOY / "worker.Dockerfile").read_text("utf-8")


# -- images and compose
IMAGES = [DEPLOY / "Dockerfile", DEPLOY / "worker.Dockerfile"]


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_what_images_copy_is_there_and_nothing_of_the_product_is_missing(image: Path) -> None:
    copied = [
        name for line in re.findall(r"^COPY (.+) \S+$", image.read_text("utf-8"), re.MULTILINE) for name in line.split()
    ]
    assert [] == [name for name in copied if not (ROOT / name).exists()]
    assert {"pipeline/", "transforms/", "schemas/", "sandbox/", "examples/", "setup.py", "constraints.txt"} <= {*copied}


def test_images_fetch_only_from_registries() -> None:
    for image in IMAGES:
        text = image.read_text("utf-8")
        assert not re.search(r"https?://|curl|wget|apt-get|git clone|^ADD ", text, re.MULTILINE)
        assert "--constraint constraints.txt" in text


def test_the_compose_file_names_what_there_is_and_its_commands_are_accepted() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    commands = {}
    for name, service in compose["services"].items():
        build = service["build"]
        assert ROOT == (DEPLOY / build["context"]).resolve()
        assert (ROOT / build["dockerfile"]).is_file()
        assert {each.partition(":")[0] for each in service["volumes"]} <= compose["volumes"].keys()
        assert {*service.get("depends_on", ())} <= compose["services"].keys()
        commands[name] = service["command"]
    accept(commands["sandbox"])
    accept([word.replace("$$", "$") for word in commands["serve"]])
    assert "service:sandbox" == compose["services"]["serve"]["network_mode"]
    for command in commands["init"][0].split(" && "):
        accept(shlex.split(command)[1:])
