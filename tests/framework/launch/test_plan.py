"""Who trains together is decided, or refused in words, before anything is started."""

from __future__ import annotations

import json

import pytest

from colabkit.accelerator import cluster
from colabkit.errors import ClusterConfigError, NotFoundError, UnsupportedError
from colabkit.launch import plan_launch, schedulers
from colabkit.launch.fingerprint import compare, fingerprint


@pytest.fixture
def script(tmp_path):
    """A script that exists."""
    path = tmp_path / "train.py"
    path.write_text("print(1)\n")
    return path


def tf_config(*workers, index=0, **more):
    """Return TF_CONFIG as a scheduler sets it."""
    return json.dumps({"cluster": {"worker": list(workers), **more}, "task": {"type": "worker", "index": index}})


def test_hosts_get_the_default_port_and_keep_their_own(script):
    """`host` and `host:port` may be mixed, and the rank says which of them is started here."""
    plan = plan_launch(script, "--x", workers=["a", "b:9000"], rank=1, env={})
    assert (plan.workers, plan.ranks, plan.leads, plan.args) == (("a:8476", "b:9000"), (1,), False, ("--x",))
    local = plan_launch(script, local=3, env={})
    assert (local.workers, local.ranks, local.leads, local.min_workers) == ((), (0, 1, 2), True, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "cannot tell which hosts train together"),
        ({"local": 0}, "0 workers"),
        ({"local": 2, "workers": ["a"]}, "cannot be mixed"),
        ({"workers": ["a", "a"], "rank": 0}, "named twice"),
        ({"workers": ["a:1", "a:1"], "rank": 0}, "named twice"),
        ({"workers": ["a:0", "b"], "rank": 0}, "invalid port"),
        ({"workers": ["a:65536", "b"], "rank": 0}, "invalid port"),
        ({"workers": ["a:http", "b"], "rank": 0}, "invalid port"),
        ({"workers": ["a b", "b"], "rank": 0}, "not an address"),
        ({"workers": ["", "b"], "rank": 0}, "not an address"),
        ({"workers": ["a", "b"], "rank": 2}, "no worker 2"),
        ({"workers": ["no-such-a", "no-such-b"]}, "not clear which worker"),
        ({"local": 2, "min_workers": 3}, "min_workers=3"),
        ({"local": 2, "restarts": -1}, "restarts=-1"),
    ],
)
def test_what_cannot_be_meant_is_refused(script, options, words):
    """Each refusal names the value and says what to do."""
    with pytest.raises(ClusterConfigError, match=words) as caught:
        plan_launch(script, env={}, **options)
    assert caught.value.do


def test_a_script_that_is_not_there_is_said_at_once(tmp_path):
    """Better now than once a worker on each host."""
    with pytest.raises(NotFoundError, match=r"no script .*absent\.py"):
        plan_launch(tmp_path / "absent.py", local=2, env={})


@pytest.mark.parametrize(
    ("env", "name", "hosts", "rank"),
    [
        (
            {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "gpu[08-10],login-1"},
            "SLURM",
            ("gpu08", "gpu09", "gpu10", "login-1"),
            2,
        ),
        ({"JOB_COMPLETION_INDEX": "3"}, "Kubernetes", (), 3),
        ({"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "t0, t1"}, "GCE", ("t0", "t1"), 1),
        ({"TF_CONFIG": tf_config("a:1", "b:1", index=1)}, "TF_CONFIG", ("a:1", "b:1"), 1),
    ],
)
def test_a_scheduler_is_recognised_by_its_variables(env, name, hosts, rank):
    """Each tells the rank, and the hosts where it knows them."""
    found = schedulers.find(env)
    assert (found.name, found.hosts, found.rank) == (name, hosts, rank)


def test_a_kubernetes_pod_is_told_the_others_by_the_manifest(script):
    """Its index comes from the variable; without --workers the refusal says what is missing."""
    env = {"JOB_COMPLETION_INDEX": "1"}
    plan = plan_launch(script, workers=["digits-0.digits", "digits-1.digits"], env=env)
    assert (plan.ranks, plan.evidence) == ((1,), "--workers, rank from Kubernetes")
    with pytest.raises(ClusterConfigError, match="Kubernetes does not name the other workers"):
        plan_launch(script, env=env)


@pytest.mark.parametrize(
    "env",
    [
        {"SLURM_PROCID": "x", "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "a"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "a,b"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "a[1-99999999]"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NODELIST": "a[3-"},
        {"JOB_COMPLETION_INDEX": "-1"},
        {"TPU_WORKER_HOSTNAMES": "a,b"},
        {"TF_CONFIG": "{"},
    ],
)
def test_variables_that_cannot_be_read_are_refused(env):
    """A half-set scheduler is told, never guessed at."""
    with pytest.raises(ClusterConfigError):
        schedulers.find(env)


@pytest.mark.parametrize("text", ['"SLURM', "[1]", "{}", '{"cluster": 3}', '{"cluster": {"worker": "a:1"}}'])
def test_a_tf_config_that_does_not_parse_is_refused(text):
    """The message shows the text and an example."""
    with pytest.raises(ClusterConfigError):
        cluster.current({"TF_CONFIG": text})


@pytest.mark.parametrize("index", [2, -1, None, "0", True])
def test_a_tf_config_with_a_task_outside_its_cluster_is_refused(index):
    """TensorFlow would wait for ever for a worker that nobody is."""
    with pytest.raises(ClusterConfigError, match="does not have"):
        cluster.current({"TF_CONFIG": tf_config("a:1", "b:1", index=index)})


def test_tf_config_may_have_a_chief_and_no_parameter_servers():
    """The chief comes first, as TensorFlow counts; ps tasks are not for Keras 3."""
    text = json.dumps({"cluster": {"chief": ["c:1"], "worker": ["w:1"]}, "task": {"type": "worker", "index": 0}})
    found = cluster.current({"TF_CONFIG": text})
    assert (found.addresses, found.index) == (("c:1", "w:1"), 1)
    with pytest.raises(UnsupportedError, match="ps"):
        cluster.current({"TF_CONFIG": tf_config("a:1", "b:1", ps=["p:1"])})


def test_one_worker_alone_is_no_cluster():
    """It trains as if nothing had been set, without a server to start."""
    assert cluster.current({"TF_CONFIG": tf_config("a:1")}) is None


def test_a_fingerprint_tells_scripts_and_versions_apart(script):
    """What would make workers compute different things is named with both values."""
    from colabkit.errors import WorkerMismatchError

    own = fingerprint(plan_launch(script, "--epochs", "2", local=2, env={}), env={})
    compare(own, dict(own), rank=1)
    script.write_text("print(2)\n")
    other = fingerprint(plan_launch(script, "--epochs", "2", local=2, env={}), env={})
    with pytest.raises(WorkerMismatchError, match="the script's content"):
        compare(own, other, rank=1)
    with pytest.raises(WorkerMismatchError, match=r"keras: .* and 2\.0"):
        compare(own, {**own, "keras": "2.0"}, rank=1)
