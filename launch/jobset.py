"""A JobSpec as a GKE JobSet: one replicated Job per slice, one pod per host.

What a pod's end means (rewardjax/command/exit_codes.py) is told to Kubernetes in two steps. The Job
fails at once, with the reason PodFailurePolicy and a message that names the code, for the codes in
FATAL and UNCOUNTED and for a disrupted node; any other code fails it by its backoff limit of 0. The
JobSet then matches that message: a code in FATAL ends the job, one in UNCOUNTED and a disrupted
node restart it without counting, and whatever matches no rule (a runtime that lost a peer, a
process that was killed) restarts it and counts. Should Kubernetes change the wording, every failure
is a counted restart.

A JobSet's count never goes down. Pods therefore run their command under launch/supervise.py, which
counts restarts without a new checkpoint and ends a pod so that the JobSet does not; what is left
for the JobSet's own count are pods that were killed as a whole.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from launch.spec import JobSpec
from rewardjax.command.exit_codes import FATAL, UNCOUNTED

CONTAINER = "main"


def render(spec: JobSpec) -> str:
    """The JobSet as YAML."""
    return yaml.safe_dump(manifest(spec), sort_keys=False, width=140)


def manifest(spec: JobSpec) -> dict[str, Any]:
    """The JobSet as plain JSON values.

    Raises ValueError if the hosts could not share the workdir.
    """
    if not spec.workdir.startswith("gs://"):
        raise ValueError(
            f"job workdir {spec.workdir!r}: a pod's own disk is lost at a restart and not shared; "
            "use gs://bucket/folder"
        )
    # Exclusive: one slice is one node pool, and a Job whose pods were spread over two pools would
    # never come up.
    metadata: dict[str, Any] = {
        "name": spec.name,
        "annotations": {
            "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
        },
    }
    if spec.queue is not None:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": spec.queue}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": failure_policy(spec.restarts),
            "replicatedJobs": [
                # One Job per slice, but one failure policy: a slice alone cannot go on.
                {"name": "slice", "replicas": spec.slices, "template": {"spec": job(spec)}}
            ],
        },
    }


def failure_policy(restarts: int) -> dict[str, Any]:
    """The JobSet's rules, first match wins; no match means a counted restart."""

    def rule(name: str, action: str, pattern: str) -> dict[str, Any]:
        return {
            "name": name,
            "action": action,
            "onJobFailureReasons": ["PodFailurePolicy"],
            "onJobFailureMessagePatterns": [pattern],
        }

    def codes(name: str, action: str, numbers: Sequence[int]) -> dict[str, Any]:
        # The words that follow the code keep 1 from matching 139.
        any_of = "|".join(f"{number:d}" for number in numbers)
        return rule(name, action, f".*exit code ({any_of}) matching FailJob rule.*")

    return {
        "maxRestarts": restarts,
        "rules": [
            codes("fatal_exit_code", "FailJobSet", FATAL),
            codes("saved_and_left", "RestartJobSetAndIgnoreMaxRestarts", UNCOUNTED),
            rule(
                "node_disrupted",
                "RestartJobSetAndIgnoreMaxRestarts",
                ".*condition DisruptionTarget matching FailJob rule.*",
            ),
        ],
    }


def job(spec: JobSpec) -> dict[str, Any]:
    """The `batch/v1` Job spec of one slice: as many pods as the slice has hosts."""
    return {
        "parallelism": spec.tpu.hosts,
        "completions": spec.tpu.hosts,
        "completionMode": "Indexed",
        # No pod is replaced alone: its peers would wait for it until the runtime gives up.
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": sorted(int(code) for code in (*FATAL, *UNCOUNTED)),
                    },
                },
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
            ]
        },
        # The sidecar that mounts the bucket is injected by this annotation.
        "template": {
            "metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}},
            "spec": pod(spec),
        },
    }


def pod(spec: JobSpec) -> dict[str, Any]:
    """The pod of one host. GKE adds the variables by which JAX finds the other hosts and slices."""
    env = {"JAX_DISTRIBUTED": "1", "PYTHONUNBUFFERED": "1"} | dict(spec.env)
    return {
        # A container restarted in place would not find its peers, who have left.
        "restartPolicy": "Never",
        # Pods speak over the hosts' own interfaces, which is what several slices are connected by.
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": spec.grace_seconds,
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": spec.tpu.gke_label,
            "cloud.google.com/gke-tpu-topology": spec.tpu.topology,
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": spec.image,
                "command": [_literal(word) for word in supervised(spec)],
                "env": [{"name": key, "value": _literal(value)} for key, value in env.items()],
                "resources": {
                    "requests": {"google.com/tpu": spec.tpu.chips_per_host},
                    "limits": {"google.com/tpu": spec.tpu.chips_per_host},
                },
                "volumeMounts": [
                    {"name": "shm", "mountPath": "/dev/shm"},
                    {"name": "bucket", "mountPath": f"/gcs/{spec.bucket}"},
                ],
            }
        ],
        # The default of 64 MiB is too small for the data workers' shared memory.
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {
                "name": "bucket",
                "csi": {
                    "driver": "gcsfuse.csi.storage.gke.io",
                    "volumeAttributes": {
                        "bucketName": spec.bucket,
                        "mountOptions": "implicit-dirs",
                        "hostNetworkPodKSA": "true",
                    },
                },
            },
        ],
    }


def supervised(spec: JobSpec) -> list[str]:
    """The argv of every host, under a supervisor that counts restarts."""
    return [
        "python",
        "-m",
        "launch.supervise",
        f"--restarts={spec.restarts}",
        f"--workdir={spec.mounted_workdir}",
        "--",
        *spec.command(),
    ]


def _literal(text: str) -> str:
    """Kubernetes expands $(NAME) in commands and variables; $$ keeps the text as it is."""
    return text.replace("$(", "$$(")
