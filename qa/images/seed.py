"""The NoCloud seed: a small ISO 9660 disk with the label ``cidata`` that cloud-init reads as the guest starts."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qa.errors import ImageError, NoSpace, UsageError
from qa.images.store import unusable
from qa.paths import data_folder

LABEL = "cidata"
TEMPLATE = "base.yaml"

# ISO 9660's own names are short and in capitals; guests see those of Rock Ridge or Joliet.
_ISO_NAMES = {"meta-data": "METADATA", "user-data": "USERDATA", "network-config": "NETWORK", "vendor-data": "VENDOR"}


def render_user_data(variables: Mapping[str, str], script_part: Mapping[str, Any] | None = None) -> str:
    """The cloud-config of a machine: the template ``cloudinit/base.yaml`` with ``variables``, and the script's part.

    Mappings are merged deeply, lists are appended, and any other value of the script replaces the template's.

    Args:
        variables: hostname, ssh_public_key, ssh_host_key, ssh_host_public_key, shell_name, shell_unit (base64). What is not
            given is left out of the result.

    Raises:
        ImageError: the template that travels with the package is damaged.
        UsageError: the script's part has something that is no plain data.
    """
    from jinja2 import Environment, FileSystemLoader, TemplateError, Undefined  # noqa: PLC0415 -- 0.1 s that forks do not need
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    environment = Environment(loader=FileSystemLoader(data_folder("cloudinit")), undefined=Undefined, autoescape=False)  # noqa: S701 -- YAML
    try:
        base = YAML(typ="safe").load(environment.get_template(TEMPLATE).render(**variables))
    except (TemplateError, YAMLError) as error:
        raise ImageError("the template of the cloud-init seed is damaged", evidence={"reason": str(error)}) from error
    merged = merge(base, script_part or {})
    try:
        # JSON is YAML, and needs no quoting rules
        return "#cloud-config\n" + json.dumps(merged, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise UsageError(f"cloud_init has a value that cannot be written: {error}", hint="quote dates and times") from error


def template_digest() -> str:
    """Another one for each version of the template."""
    return hashlib.sha256((data_folder("cloudinit") / TEMPLATE).read_bytes()).hexdigest()


def merge(base: Any, addition: Any) -> Any:
    """``addition`` merged into ``base``; neither is changed."""
    if isinstance(base, Mapping) and isinstance(addition, Mapping):
        merged = dict(base)
        for key, value in addition.items():
            merged[key] = merge(base[key], value) if key in base else value
        return merged
    if isinstance(base, list) and isinstance(addition, list | tuple):
        return [*base, *addition]
    return addition


def write_seed(
    path: Path,
    *,
    instance_id: str,
    hostname: str,
    user_data: str,
    network_config: str | None = None,
    vendor_data: str | None = None,
) -> None:
    """Write the seed to ``path``. A new ``instance_id`` makes cloud-init start afresh.

    Args:
        user_data: as `render_user_data` gives it, or any other that cloud-init understands.
        network_config: cloud-init's network configuration, as YAML; None for DHCP on the first card.

    Raises:
        NoSpace: the file system is full.
        ImageError: it cannot be written.
    """
    import pycdlib  # noqa: PLC0415 -- machines that start from a frozen state have their seed already
    from pycdlib.pycdlibexception import PyCdlibException  # noqa: PLC0415

    meta_data = json.dumps({"instance-id": instance_id, "local-hostname": hostname}) + "\n"
    files = {"meta-data": meta_data, "user-data": user_data, "network-config": network_config, "vendor-data": vendor_data}
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    try:
        for name, text in files.items():
            if text is not None:
                content = text.encode()
                iso.add_fp(io.BytesIO(content), len(content), f"/{_ISO_NAMES[name]}.;1", rr_name=name, joliet_path=f"/{name}")
        iso.write(str(path))
    except OSError as error:
        raise _failure(path, error) from error
    except PyCdlibException as error:
        raise ImageError(f"cannot make the cloud-init seed {path}: {error}") from error
    finally:
        iso.close()


def _failure(path: Path, error: OSError) -> ImageError | NoSpace:
    path.unlink(missing_ok=True)
    return unusable(path, error)
