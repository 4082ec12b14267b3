"""Programs that are not ours: TensorFlow's own, in Python and in C, and its warm-up requests."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export.models import CASES, outputs_of
from keras_hyper import export_saved_model

HERE = pathlib.Path(__file__).parent
CLOSE = 1e-5


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder, models = tmp_path_factory.mktemp("exported"), {}
    for case in ("static", "recurrent"):
        models[case] = CASES[case].make()
        export_saved_model(models[case], folder / case)
    return folder, models


def signature(path, name):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    return proto.meta_graphs[0].signature_def[name]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library, path = pathlib.Path(tf.sysconfig.get_lib()), tmp_path_factory.mktemp("c") / "client"
    libraries = [f"-l:{name}.so.2" for name in ("libtensorflow_cc", "libtensorflow_framework")]
    command = [compiler, HERE / "client.c", "-I", tf.sysconfig.get_include(), "-L", library]
    command += [*libraries, f"-Wl,-rpath,{library}", "-Wl,--allow-shlib-undefined", "-o", path]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla"])
@pytest.mark.parametrize("case", ["static", "recurrent"])
def test_a_program_in_c_gets_the_same(case, endpoint, exported, program, rng):
    folder, models = exported
    names = signature(folder / case, endpoint)
    ((_, feed),) = names.inputs.items()
    for batch, length in ((1, 2), (4, 5)):
        inputs = CASES[case].inputs(rng, batch, length)
        expected, (x,) = outputs_of(models[case], inputs), inputs.values()
        for name, fetch in names.outputs.items():
            operation, index = fetch.name.split(":")
            command = [program, folder / case, feed.name.split(":")[0], operation, index]
            value = expected[name]
            command += [str(value.size), *map(str, x.shape)]
            done = subprocess.run(command, input=x.tobytes(), capture_output=True)
            assert done.returncode == 0, done.stderr[-1000:]
            outputs = np.frombuffer(done.stdout, "float32").reshape(value.shape)
            np.testing.assert_allclose(outputs, value, atol=CLOSE)
    # A wrong rank is an error, and does not end the process.
    command = [*command[:5], "1", "2", "2"]
    done = subprocess.run(command, input=x.tobytes()[:16], capture_output=True)
    assert done.returncode == 2
    assert b"shape" in done.stderr.lower()


def test_saved_model_cli(exported, tmp_path, rng):
    folder, models = exported
    tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}

    def run(*arguments):
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    path = folder / "static"
    shown = run("show", "--dir", path, "--tag_set", "serve", "--signature_def", "serving_default")
    assert "inputs['image']" in shown
    assert "outputs['outputs']" in shown
    x = rng.normal(size=(3, 8, 8, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    run(
        *("run", "--dir", path, "--tag_set", "serve", "--signature_def", "serving_default"),
        *("--inputs", f"image={tmp_path / 'x.npy'}", "--outdir", tmp_path),
    )
    ((_, expected),) = outputs_of(models["static"], {"image": x}).items()
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=CLOSE)
    assert "MetaGraph" in run("scan", "--dir", path)


def test_warm_up_requests_are_those_that_were_given(tmp_path, rng):
    from tensorflow_serving.apis import prediction_log_pb2

    samples = [CASES["static"].inputs(rng, batch, 0) for batch in (1, 8)]
    export_saved_model(CASES["static"].make(), tmp_path / "model", warmup=samples)
    path = tmp_path / "model" / "assets.extra" / "tf_serving_warmup_requests"
    requests = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        requests.append(log.predict_log.request)
    assert [(r.model_spec.name, r.model_spec.signature_name) for r in requests] == [
        ("model", endpoint) for endpoint in ("serving_default", "serve_xla") for _ in range(2)
    ]
    for request, sample in zip(requests, samples * 2, strict=True):
        np.testing.assert_array_equal(tf.make_ndarray(request.inputs["image"]), sample["image"])
    # One condition for all rows is for one of the endpoints only.
    sample = {
        n: x[:1] if n != "inputs" else x for n, x in CASES["by task"].inputs(rng, 3, 0).items()
    }
    export_saved_model(CASES["by task"].make(), tmp_path / "users", warmup=[sample])
    path = tmp_path / "users" / "assets.extra" / "tf_serving_warmup_requests"
    (record,) = tf.data.TFRecordDataset(str(path))
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    assert log.predict_log.request.model_spec.signature_name == "serving_default"
    with pytest.raises(ValueError, match=r"dicts with \['image'\]"):
        export_saved_model(CASES["static"].make(), tmp_path / "b", warmup=[{"x": np.ones(1)}])
    assert not (tmp_path / "b").exists()
