"""Faults as options of other plugins: a table that names one, with its options beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, ValidationInfo, model_validator

from harness.errors import PluginLoadError, UnknownPluginError
from harness.plugin.contract.base import Config
from harness.plugin.contract.fault import Fault
from harness.spec.problems import problems_from_validation

FAULTS: Final = "faults"
"""The key in pydantic's validation context that has the function from a fault's name to its class."""

FindFault = Callable[[str], type[Fault[Any]]]


class FaultUse(BaseModel):
    """For plugins' `Config`s: `{use = "kill", ready_timeout = "10s"}`. What a subclass has no field for are the
    fault's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str

    _fault: type[Fault[Any]] = PrivateAttr()
    _config: Config = PrivateAttr()

    @property
    def fault(self) -> type[Fault[Any]]:
        return self._fault

    @property
    def config(self) -> Config:
        """The fault's options, checked."""
        return self._config

    @model_validator(mode="after")
    def _resolved(self, info: ValidationInfo) -> FaultUse:
        find: FindFault | None = (info.context or {}).get(FAULTS)
        if find is None:
            raise ValueError("a fault can be named in a plan only, where it is known which faults there are")
        try:
            fault = find(self.use)
        except (UnknownPluginError, PluginLoadError) as error:
            raise ValueError(str(error)) from None
        options = dict(self.model_extra or {})
        try:
            config = fault.Config.model_validate(options, context=info.context)
        except ValidationError as error:
            beside = list(type(self).model_fields)
            told = (
                f"{one.path}: ".removeprefix(": ") + one.message + (f" ({one.hint})" if one.hint else "")
                for one in problems_from_validation(error, None, (), fault.Config, data=options, beside=beside)
            )
            raise ValueError(f"{self.use}: {'; '.join(told)}") from None
        self._fault, self._config = fault, config
        return self
