"""`noria serve` loads what a trusted key has signed, and nothing else."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from noria.core import files
from noria.stores.model_signature import PrivateKey, path_of
from tests.unit.serving.test_swap import model_processes, publish, states
from tests.unit.stores.test_model_signature import key_pair

TWO, THREE = 3.0, 4.0  # what half_plus_two and half_plus_three answer to 2.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    return tmp_path / "m"


def sign(model: Path, key: Path, as_number: int) -> None:
    PrivateKey.read(key).sign(model.with_name(str(as_number)), files.tree_digests(model))


def reason(server, number: int) -> str:
    """Why a version was refused; empty if it was not."""
    _, answer = server.ask("/v1/models/m")
    return next(
        (
            each["status"]["error_message"]
            for each in answer["model_version_status"]
            if int(each["version"]) == number
        ),
        "",
    )


def test_what_is_not_signed_is_refused_and_the_old_version_stays(root: Path, small_models, serving) -> None:
    """Each kind of tampering is refused with its reason, while version 1 answers; a valid version takes over."""
    two, three = small_models / "half_plus_two" / "00000123", small_models / "half_plus_three" / "00000124"
    one, public = key_pair(root.parent, "one")
    other, _ = key_pair(root.parent, "other")
    new, new_public = key_pair(root.parent, "new")

    def staged(number: int, key: Path) -> Path:
        folder = root / f".staging-{number}"
        shutil.copytree(three, folder)
        sign(folder, key, number)
        return folder

    sign(two, one, 1)
    shutil.move(path_of(two.with_name("1")), path_of(root / "1"))
    publish(root, 1, two)
    with serving(str(root), "--trusted-key", str(public), "--trusted-key", str(new_public)) as server:
        assert (200, {"predictions": [TWO]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
        weights = staged(2, one) / "variables" / "variables.data-00000-of-00001"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        (staged(3, one) / "assets.extra").mkdir()
        (root / ".staging-3" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"")
        (staged(4, one) / "fingerprint.pb").unlink(missing_ok=True)
        (root / ".staging-4" / "variables" / "variables.index").unlink()
        staged(5, other)
        shutil.copytree(three, root / ".staging-6")
        expected = {2: "was changed", 3: "was added", 4: "was removed", 5: "trusted key", 6: "is not signed"}
        for number, text in expected.items():
            (root / f".staging-{number}").rename(root / str(number))
            server.wait(lambda number=number, text=text: text in reason(server, number))
            assert (200, {"predictions": [TWO]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
        sign(root / "6", new, 6)  # the version that was not signed is, with the next key
        server.wait(lambda: states(server)[6] == "AVAILABLE")
        assert (200, {"predictions": [THREE]}) == server.predict({"instances": [2.0]}, "/v1/models/m")
        # Nor is a process replaced by one that loads changed files.
        (root / "6" / "more").write_text("")
        os.kill(model_processes(server)[-1], signal.SIGKILL)
        server.wait(lambda: server.ask("/ready")[0] == 503)
