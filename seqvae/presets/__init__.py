"""The settings that come with seqvae, each a TOML file in this folder."""

from pathlib import Path

from seqvae.checks import check
from seqvae.config import Config
from seqvae.errors import OptionError

_PRESETS = Path(__file__).parent


def preset_names() -> list[str]:
    """Names of the presets that come with seqvae."""
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


def preset(name: str | Path, given_as: str = "--preset") -> Config:
    """A preset by its name, or a TOML file by its path. Raises OptionError when there is none, naming what it was."""
    path = _PRESETS / f"{name}.toml"
    if str(name) not in preset_names():
        path = Path(name)
        if path.suffix != ".toml":
            raise OptionError(f"{given_as} {name}: unknown; choose {', '.join(preset_names())} or a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise OptionError(f"{given_as} {path}: cannot be read ({reason})") from None
    config = Config.from_toml(text, str(path))
    check(config)
    return config
