"""Saved models of tfxfer open with Keras alone, and `import tfxfer` stays light."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tfxfer
from tfxfer.models.registration import SERIALIZABLE, register_with_keras
from tfxfer.transfer.bridges.render import RenderText
from tfxfer.transfer.bridges.tokens import text_to_image_body

pytestmark = pytest.mark.tensorflow
PACKAGE = Path(tfxfer.__file__).parent
TEXTS = ["a", "Zoë"]


def decorated():
    """Return class -> module of all classes in the package with the decorator `register_keras_serializable`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        nodes = ast.walk(ast.parse(text)) if "register_keras_serializable" in text else ()
        for node in nodes:
            for decorator in getattr(node, "decorator_list", ()):
                if "register_keras_serializable" in ast.unparse(decorator):
                    found[node.name] = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return found


def test_every_serializable_class_is_listed():
    assert decorated() == SERIALIZABLE


@pytest.mark.parametrize("name", SERIALIZABLE)
def test_a_listed_class_is_registered_under_its_name(name):
    cls = getattr(importlib.import_module(SERIALIZABLE[name]), name)
    register_with_keras()
    assert keras.saving.get_registered_object(f"tfxfer>{name}") is cls


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model with classes of three modules, and its output for TEXTS."""
    drawing = keras.Input((16, 16, 1), name="image")
    body = keras.Model(drawing, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(drawing)))
    tokens = text_to_image_body(body, 2, unit="bytes")
    text = keras.Input((), dtype="string", name="text")
    rendered = body(RenderText(16, 16, font_size=8)(text))
    model = keras.Model(text, keras.layers.Concatenate()([tokens(text), rendered]))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path, model.predict(np.array(TEXTS, object), verbose=0)


OPEN = "import sys, numpy as np\nmodel = keras.models.load_model(sys.argv[1])\nnp.save(sys.argv[2], model.predict({}))"


@pytest.mark.parametrize(
    "imports", ["import keras, tfxfer", "import tfxfer, keras", "import tfxfer.data, tfxfer, keras"]
)
def test_a_saved_model_opens_in_a_new_process(imports, saved, tmp_path):
    path, expected = saved
    code = f"{imports}\n{OPEN.format(f'np.array({TEXTS}, object), verbose=0')}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "y.npy")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)


def test_importing_a_module_that_defines_a_class_first_is_no_circle():
    """The import of Keras ends within the import of the module, and registers classes of modules that import it."""
    check = "assert keras.saving.get_registered_object('tfxfer>Body') is tfxfer.transfer.bridges.body.Body"
    code = f"import tfxfer.transfer.bridges.body, keras\n{check}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", ["import tfxfer", "import tfxfer, tfxfer.models, tfxfer.models.registration"])
def test_importing_the_package_loads_neither_keras_nor_tensorflow(code):
    check = "import sys; assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
