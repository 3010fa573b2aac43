"""The models that serve together, and which of them classifies a post in a language. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from models.classifier import Classifier
from models.errors import ModelError
from models.text.language import UNKNOWN
from models.text.stated_language import not_told_apart, reads

ModelT_co = TypeVar("ModelT_co", bound=Classifier, covariant=True)


class _Model(Protocol):
    """The properties that a classifier and the manifest of a package share."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def languages(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class ModelSet(Generic[ModelT_co]):
    """The models that serve at one moment. Immutable.

    Attributes:
        main: Classifies the posts in every language that it reads and that no other model is configured for, and the
            posts whose language is unknown.
        by_language: The models that are configured for a language, by its subtag of BCP 47. A model may be there
            several times.
    """

    main: ModelT_co
    by_language: Mapping[str, ModelT_co] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def all(self) -> Sequence[ModelT_co]:
        """The models, each once, the main model first."""
        return list({id(model): model for model in (self.main, *self.by_language.values())}.values())

    def model_for(self, code: str) -> ModelT_co | None:
        """Returns the model that classifies posts in a language; None if no model reads it.

        The first of these that there is:

        1. of an unknown language, the main model;
        2. the model that is configured for the language;
        3. the main model, if its manifest lists the language;
        4. a model that is configured for a language that the identifier does not tell apart from this one;
        5. the main model, if it reads all languages, or one that the identifier does not tell apart from this one.
        """
        if code == UNKNOWN:
            return self.main
        if (configured := self.by_language.get(code)) is not None:
            return configured
        if code not in self.main.languages:
            for other in sorted(not_told_apart(code) & self.by_language.keys()):
                return self.by_language[other]
        return self.main if reads(self.main.languages, code) else None


def check_languages(model: _Model, wanted: Collection[str]) -> None:
    """Check that a model reads the languages that it is configured for.

    Raises:
        ModelError: Its manifest does not list one of them.
    """
    if missing := [code for code in wanted if not reads(model.languages, code)]:
        raise ModelError(
            f"{model.name} {model.version} is configured for {', '.join(missing)}, which its manifest does not list; "
            f"it reads {', '.join(model.languages)}"
        )
