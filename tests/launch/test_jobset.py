"""The rendered JobSet against strict schemas, and its restart policy against the exit codes that
our processes end with.
"""

import copy
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from launch import jobset
from launch.accelerators import Slice
from launch.spec import JobSpec
from rewardjax.command.exit_codes import ExitCode

KUBERNETES = "1.31"

# The part of the JobSet schema that we write, closed: an unknown field is an error.
# kubernetes-validate checks the batch/v1 Job inside.
STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}


def closed(required, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


JOBSET = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=closed(
        ["name"],
        name={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
        annotations={"type": "object", "additionalProperties": {"type": "string"}},
        labels={"type": "object", "additionalProperties": {"type": "string"}},
    ),
    spec=closed(
        ["failurePolicy", "replicatedJobs"],
        network=closed(
            [], enableDNSHostnames={"type": "boolean"}, publishNotReadyAddresses={"type": "boolean"}
        ),
        failurePolicy=closed(
            ["maxRestarts"],
            maxRestarts={"type": "integer", "minimum": 0},
            rules={
                "type": "array",
                "items": closed(
                    ["name", "action"],
                    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                    action={
                        "enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
                    },
                    onJobFailureReasons=STRINGS,
                    onJobFailureMessagePatterns=STRINGS,
                    targetReplicatedJobs=STRINGS,
                ),
            },
        ),
        replicatedJobs={
            "type": "array",
            "minItems": 1,
            "items": closed(
                ["name", "template"],
                name={"type": "string"},
                replicas={"type": "integer", "minimum": 1},
                template=closed(["spec"], metadata={"type": "object"}, spec={"type": "object"}),
            ),
        },
    ),
)


def make(**changes) -> JobSpec:
    fields = dict(
        name="rm-8b",
        tpu=Slice.parse("v5p:2x2x4"),
        slices=2,
        image="registry/rewardjax:1.0",
        config="configs/tiny.py:steps=8",
        workdir="gs://bucket/runs/a b",
        overrides={"schedule.peak": 1e-3, "name": "$(HOME); rm -rf /"},
        queue="team",
        restarts=3,
        grace_seconds=90,
        env={"WANDB_MODE": "offline", "NOTE": "$(X) $Y"},
    )
    return JobSpec(**(fields | changes))


def check(manifest) -> None:
    """Raise unless `manifest` is a JobSet that the API server would take."""
    jsonschema.validate(manifest, JOBSET)
    for replicated in manifest["spec"]["replicatedJobs"]:
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "x"},
            "spec": replicated["template"]["spec"],
        }
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def job_of(manifest):
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]


def container_of(manifest):
    return job_of(manifest)["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    "topology", ["v4:2x2x2", "v5e:1x1", "v5e:4x4", "v5p:4x4x4", "v6e:8x8", "tpu7x:2x2x1"]
)
@pytest.mark.parametrize("slices", [1, 2])
def test_manifests_pass_strict_schemas_and_match_the_slice(topology, slices):
    spec = make(tpu=Slice.parse(topology), slices=slices, queue=None if slices == 1 else "team")
    manifest = yaml.safe_load(jobset.render(spec))
    assert manifest == jobset.manifest(spec)
    check(manifest)
    job, container = job_of(manifest), container_of(manifest)
    assert job["parallelism"] == job["completions"] == spec.tpu.hosts
    assert manifest["spec"]["replicatedJobs"][0]["replicas"] == slices
    assert container["resources"]["limits"]["google.com/tpu"] * job["parallelism"] == spec.tpu.chips
    assert job["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": spec.tpu.gke_label,
        "cloud.google.com/gke-tpu-topology": topology.split(":")[1],
    }


def test_what_a_pod_runs_is_an_argv_that_nothing_expands():
    manifest = jobset.manifest(make())
    container = container_of(manifest)
    assert container["command"] == [
        "python",
        "-m",
        "launch.supervise",
        "--restarts=3",
        "--workdir=/gcs/bucket/runs/a b",
        "--",
        "python",
        "-m",
        "rewardjax.train",
        "--config=configs/tiny.py:steps=8",
        "--workdir=/gcs/bucket/runs/a b",
        "--config.schedule.peak=0.001",
        "--config.name=$$(HOME); rm -rf /",
    ]
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "JAX_DISTRIBUTED": "1",
        "PYTHONUNBUFFERED": "1",
        "WANDB_MODE": "offline",
        "NOTE": "$$(X) $Y",
    }
    assert job_of(manifest)["template"]["spec"]["terminationGracePeriodSeconds"] == 90
    assert manifest["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}


def test_every_host_mounts_the_bucket_of_the_workdir():
    pod = jobset.pod(make(workdir="gs://bucket/run"))
    (bucket,) = [volume for volume in pod["volumes"] if "csi" in volume]
    assert bucket["csi"]["volumeAttributes"]["bucketName"] == "bucket"
    assert {"name": bucket["name"], "mountPath": "/gcs/bucket"} in pod["containers"][0][
        "volumeMounts"
    ]


def test_a_workdir_that_hosts_cannot_share_is_refused():
    with pytest.raises(ValueError, match="use gs://"):
        jobset.manifest(make(workdir="/tmp/run"))


# ------------------------------------------------------------------ a validator that accepts anything would pass the tests above


def pod_of(manifest):
    return job_of(manifest)["template"]["spec"]


def rule_of(manifest):
    return manifest["spec"]["failurePolicy"]["rules"][0]


MUTATIONS = {
    "parallelism as text": lambda m: job_of(m).update(parallelism="4"),
    "misspelt completions": lambda m: job_of(m).update(completion=4),
    "unknown Job field": lambda m: job_of(m).update(retries=1),
    "no pod template": lambda m: job_of(m).pop("template"),
    "no containers": lambda m: pod_of(m).pop("containers"),
    "misspelt grace period": lambda m: pod_of(m).update(terminationGracePeriod=3),
    "grace period as text": lambda m: pod_of(m).update(terminationGracePeriodSeconds="30"),
    "node selector as a list": lambda m: pod_of(m).update(nodeSelector=["tpu"]),
    "command as one string": lambda m: container_of(m).update(command="python -m rewardjax.train"),
    "env as a mapping": lambda m: container_of(m).update(env={"A": "1"}),
    "env value as a number": lambda m: container_of(m)["env"][0].update(value=1),
    "container without a name": lambda m: container_of(m).pop("name"),
    "volume mount without a path": lambda m: container_of(m)["volumeMounts"][0].pop("mountPath"),
    "exit codes as text": lambda m: job_of(m)["podFailurePolicy"]["rules"][0]["onExitCodes"].update(
        values=["1"]
    ),
    "rule without an action": lambda m: job_of(m)["podFailurePolicy"]["rules"][0].pop("action"),
    "misspelt exit code rule": lambda m: job_of(m)["podFailurePolicy"]["rules"][0].update(
        onExitCode={}
    ),
    "unknown JobSet action": lambda m: rule_of(m).update(action="Restart"),
    "JobSet rule without a name": lambda m: rule_of(m).pop("name"),
    "JobSet rule name with a dash": lambda m: rule_of(m).update(name="fatal-code"),
    "pattern as one string": lambda m: rule_of(m).update(onJobFailureMessagePatterns=".*"),
    "negative restarts": lambda m: m["spec"]["failurePolicy"].update(maxRestarts=-1),
    "replicas in the wrong place": lambda m: m["spec"].update(replicas=2),
    "no replicated jobs": lambda m: m["spec"].update(replicatedJobs=[]),
    "another api version": lambda m: m.update(apiVersion="jobset.x-k8s.io/v1"),
    "upper case name": lambda m: m["metadata"].update(name="RM"),
    "queue label as a number": lambda m: m["metadata"].update(
        labels={"kueue.x-k8s.io/queue-name": 1}
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_manifest_is_rejected(name):
    manifest = copy.deepcopy(jobset.manifest(make()))
    check(manifest)
    MUTATIONS[name](manifest)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(manifest)


# ------------------------------------------------------------------ what happens after a pod ends


def outcome(manifest, exit_code: int, disrupted: bool = False) -> str:
    """What the Job and JobSet controllers do when one pod ends.

    Evaluates the rendered rules as the documentation of the two controllers says.
    """
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    for index, rule in enumerate(job_of(manifest)["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes")
        if codes and exit_code in codes["values"]:
            what = f"Container {codes['containerName']} for pod default/rm-8b-slice-0-1-abcde failed with exit code {exit_code}"
        elif disrupted and any(
            condition["type"] == "DisruptionTarget" for condition in rule.get("onPodConditions", [])
        ):
            what = "Pod default/rm-8b-slice-0-1-abcde has condition DisruptionTarget"
        else:
            continue
        reason, message = (
            "PodFailurePolicy",
            f"{what} matching {rule['action']} rule at index {index}",
        )
        break
    for rule in manifest["spec"]["failurePolicy"]["rules"]:
        if reason in rule["onJobFailureReasons"] and any(
            re.search(pattern, message) for pattern in rule["onJobFailureMessagePatterns"]
        ):
            return rule["action"]
    return "RestartJobSet"


KILLED, SEGMENTATION_FAULT, TERMINATED = 128 + 9, 128 + 11, 128 + 15  # as Kubernetes tells signals


@pytest.mark.parametrize(
    "exit_code", [ExitCode.BUG, ExitCode.USER, ExitCode.NOT_FINITE, ExitCode.NO_CHECKPOINT]
)
def test_what_a_restart_would_meet_again_ends_the_job(exit_code):
    assert outcome(jobset.manifest(make()), exit_code) == "FailJobSet"


@pytest.mark.parametrize(
    "exit_code",
    [ExitCode.HANG, ExitCode.OUTAGE, KILLED, SEGMENTATION_FAULT, TERMINATED, 11, 12, 21, 31, 142],
)
def test_any_other_end_is_a_counted_restart(exit_code):
    """The last five hold the digits of a fatal code, or mean nothing:

    no code is recognized by a part of it.
    """
    assert outcome(jobset.manifest(make()), exit_code) == "RestartJobSet"


def test_who_saved_and_left_is_started_again_without_counting():
    code = ExitCode.PREEMPTED
    assert outcome(jobset.manifest(make()), code) == "RestartJobSetAndIgnoreMaxRestarts"


@pytest.mark.parametrize("exit_code", [KILLED, TERMINATED, ExitCode.OUTAGE])
def test_a_node_that_was_taken_away_restarts_the_job_without_counting(exit_code):
    manifest = jobset.manifest(make())
    assert outcome(manifest, exit_code, disrupted=True) == "RestartJobSetAndIgnoreMaxRestarts"


def test_no_rule_waits_for_a_code_that_nothing_sends():
    rules = job_of(jobset.manifest(make()))["podFailurePolicy"]["rules"]
    (codes,) = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
    assert set(codes) < set(ExitCode)


def test_a_job_whose_pods_are_replaced_alone_would_hang():
    job = job_of(jobset.manifest(make()))
    assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never"


def test_a_pod_named_like_a_message_changes_nothing():
    manifest = jobset.manifest(make(name="exit-code-1-matching"))
    assert outcome(manifest, KILLED) == "RestartJobSet"
    assert outcome(manifest, KILLED, disrupted=True) == "RestartJobSetAndIgnoreMaxRestarts"
