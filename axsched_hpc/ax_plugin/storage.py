"""How Ax's stores learn of the classes of this package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ax.storage.json_store.encoders import metric_to_dict, runner_to_dict
from ax.storage.json_store.registry import CORE_DECODER_REGISTRY, CORE_ENCODER_REGISTRY
from ax.storage.metric_registry import CORE_METRIC_REGISTRY
from ax.storage.runner_registry import CORE_RUNNER_REGISTRY

from axsched_hpc.ax_plugin.metric import FileMetric
from axsched_hpc.ax_plugin.runner import SubmititAxRunner
from axsched_hpc.core.errors import ConfigError

if TYPE_CHECKING:
    from ax.api.configs import StorageConfig
    from ax.storage.registry_bundle import RegistryBundle

#: The numbers of the classes in the tables of a database, for ever.
RUNNER_NUMBER, METRIC_NUMBER = 70241, 70242


def register() -> None:
    """Put the classes into Ax's own registries, which are used where no others are given.

    Importing :mod:`axsched_hpc.ax_plugin` does so. Without SQLAlchemy there is no other way: Ax's
    ``StorageConfig`` needs it, also for JSON files.
    """
    CORE_ENCODER_REGISTRY[SubmititAxRunner] = runner_to_dict
    CORE_ENCODER_REGISTRY[FileMetric] = metric_to_dict
    CORE_DECODER_REGISTRY[SubmititAxRunner.__name__] = SubmititAxRunner
    CORE_DECODER_REGISTRY[FileMetric.__name__] = FileMetric
    CORE_RUNNER_REGISTRY[SubmititAxRunner] = RUNNER_NUMBER
    CORE_METRIC_REGISTRY[FileMetric] = METRIC_NUMBER


def registry_bundle() -> RegistryBundle:
    """The classes as a bundle, to be joined with those of others by ``RegistryBundle.from_registry_bundles``.

    Raises
    ------
    ConfigError
        SQLAlchemy is not installed.
    """
    _require_sql()
    from ax.storage.registry_bundle import RegistryBundle

    # A bundle has Ax's own runners in any case, but only those metrics that it is given.
    return RegistryBundle(
        metric_clss=dict(CORE_METRIC_REGISTRY), runner_clss={SubmititAxRunner: RUNNER_NUMBER}
    )


def storage_config(url: str | None = None, creator: Callable[..., Any] | None = None) -> StorageConfig:
    """What ``Client(storage_config=...)`` takes, to keep an experiment with these classes in a database.

    Parameters
    ----------
    url, creator
        One of the two, as Ax takes them: the database's address, or what connects to it.

    Raises
    ------
    ConfigError
        SQLAlchemy is not installed, or neither or both are given.
    """
    _require_sql()
    if (url is None) == (creator is None):
        raise ConfigError("storage_config takes a url or a creator: one of the two.")
    from ax.api.configs import StorageConfig

    return StorageConfig(url=url, creator=creator, registry_bundle=registry_bundle())


def _require_sql() -> None:
    try:
        import_module("sqlalchemy")
    except ModuleNotFoundError:
        raise ConfigError(
            "Keeping experiments in a database needs SQLAlchemy: pip install 'axsched-hpc[sql]'. JSON "
            "files do without, and without a storage_config."
        ) from None
