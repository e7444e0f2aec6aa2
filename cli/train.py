"""seqvae train: a folder of music to a model.

Options that are left out keep the value of the preset. Music files are first prepared, into a dataset that lies
beside the run in .datasets and is named after the state of the files: the next run on them finds it there.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import options
from cli.console import INTERRUPTED, say
from data_prep import programs
from data_prep.meters import count
from seqvae import config as settings
from seqvae import presets
from seqvae.checks import check
from seqvae.config import Config
from seqvae.errors import OptionError
from seqvae.run_folder import check_place, read_config

if TYPE_CHECKING:
    from data_prep.dataset import Dataset
    from seqvae.training import TrainResult

DATASETS = ".datasets"
BUDGET = ("epochs", "steps", "minutes")
TRAINING = {field.name for field in dataclasses.fields(settings.TrainConfig)}
SHOWN = ("elbo", "rate", "note_on_accuracy", "note_on_free_running")

Sources = Annotated[list[Path] | None, typer.Argument(metavar="SOURCE", help=options.SOURCES_HELP, show_default=False)]
Out = Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder; without it runs/SOURCE-PRESET.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="N", callback=options.at_least(1), help="End after so many epochs; replaces the preset's budget."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(metavar="N", callback=options.at_least(1), help="End after so many steps of the optimizer."),
]
Minutes = Annotated[float | None, typer.Option(metavar="N", callback=options.above_0, help="End after so long.")]
BatchSize = Annotated[int | None, typer.Option(metavar="B", callback=options.at_least(1), help="Sequences in a step.")]
LearningRate = Annotated[
    float | None, typer.Option(metavar="RATE", callback=options.above_0, help="Of Adam, at first.")
]
Beta = Annotated[
    float | None,
    typer.Option(
        metavar="BETA",
        callback=options.at_least(0),
        help="Weight of the rate: lower reconstructs better, higher samples better.",
    ),
]
Annealing = Annotated[str | None, options.choice(settings.ANNEALING, "How beta rises from 0.")]
AnnealingSteps = Annotated[
    int | None, typer.Option(metavar="N", callback=options.at_least(1), help="Steps that its rise takes.")
]
FreeBits = Annotated[
    float | None, typer.Option(metavar="BITS", callback=options.at_least(0), help="Bits of rate that cost nothing.")
]
FreeBitsPer = Annotated[
    str | None, options.choice(settings.FREE_BITS_PER, "Free bits of the total rate, or of each latent dimension.")
]
ScheduledSampling = Annotated[
    str | None,
    options.choice(
        settings.SCHEDULED_SAMPLING, "How often the decoder reads its own output in training, and how that rises."
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(metavar="N", callback=options.at_least(1), help="End after N epochs without a better valid score."),
]
Device = Annotated[str | None, options.choice(settings.DEVICES, "Where to compute.")]
Precision = Annotated[str | None, options.choice(settings.PRECISIONS, "Of matrix products.")]
Seed = Annotated[int | None, typer.Option(metavar="N", callback=options.at_least(0), help="Random numbers start here.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the run in --out.")]


def train(
    context: typer.Context,
    sources: Sources = None,
    out: Out = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.toml", help=f"Settings to start from.  [{options.PRESET}]")
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    beta: Beta = None,
    annealing: Annealing = None,
    annealing_steps: AnnealingSteps = None,
    free_bits: FreeBits = None,
    free_bits_per: FreeBitsPer = None,
    scheduled_sampling: ScheduledSampling = None,
    patience: Patience = None,
    device: Device = None,
    precision: Precision = None,
    seed: Seed = None,
    bars: options.Bars = None,
    meter: options.Meter = None,
    pair_bars: options.PairBars = None,
    programs: options.Programs = None,
    workers: options.Workers = None,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train a model on music.

    Options that are left out have the preset's values. Music files are prepared first, into .datasets beside the run;
    as long as they stay unchanged, the next run uses that work again. A run that exists is never overwritten unasked.

    \b
    Examples:
      seqvae train tunes/ --minutes 30
      seqvae train jigs.abc --meter 6/8 --preset melody-2bar-small --out runs/jigs
      seqvae train tunes.seqvae --beta 0.5 --free-bits 48 --annealing cyclical
      seqvae train --resume --out runs/jigs --epochs 100
    """
    base = presets.preset(preset or options.PRESET)
    run = out or _default_run(sources, base.name)
    if resume and force:
        raise OptionError("--resume goes on with a run, --force replaces it: give one of them")
    check_place(run, resume, force)
    if resume and preset is None:
        base = read_config(run)
    elif not resume:  # the settings of another run may serve as a preset, its data do not
        base = dataclasses.replace(base, data=dataclasses.replace(base.data, dataset=None))
    config = options.with_data_options(with_training_options(base, context.params), context.params)
    check(config)
    dataset = _dataset(sources or [], config, run, workers)
    config = fit_to_dataset(config, dataset, context.params)
    from seqvae.trained import Previews
    from seqvae.training import train as run_training

    _report(run_training(config, dataset.path, run, resume=resume, force=force, on_epoch=Previews(dataset.path)))


def _default_run(sources: Sequence[Path] | None, preset: str) -> Path:
    if not sources:
        raise OptionError("SOURCE is missing: give music files, folders or a dataset; or a run with --resume --out RUN")
    return Path("runs", f"{sources[0].resolve().stem or 'music'}-{preset}")


def with_training_options(config: Config, given: Mapping[str, Any]) -> Config:
    """The configuration with those of the options `given` that belong to training and are not None.

    A budget that is given replaces all of the configuration's, and a low learning rate lowers the one it decays to.
    """
    changes = {name: value for name, value in given.items() if name in TRAINING and value is not None}
    if any(name in changes for name in BUDGET):
        changes = dict.fromkeys(BUDGET) | changes
    last = min(config.training.final_learning_rate, changes.get("learning_rate", config.training.learning_rate))
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, **changes | {"final_learning_rate": last})
    )


def _dataset(sources: Sequence[Path], config: Config, run: Path, workers: int | None) -> "Dataset":
    """The dataset given, the one that a resumed run remembers, or one made of music files."""
    from data_prep import dataset

    before = Path(config.data.dataset) if config.data.dataset else None
    if not sources:
        if before is None or not before.exists():
            raise OptionError(f"SOURCE is missing: what {run} was trained on is not there any more ({before})")
        return dataset.open_dataset(before)
    raw = len(sources) > 1 or not dataset.is_dataset(sources[0])
    chosen = options.melody_options(config.data)
    place = run.parent / DATASETS / dataset.fingerprint(sources, chosen)[:16] if raw else sources[0]
    if before is not None and before.exists() and before.resolve() != place.resolve():
        raise OptionError(f"--resume: {run} was trained on {before}, and SOURCE is not that; leave SOURCE out")
    if not raw:
        return dataset.open_dataset(place)
    made = dataset.cached(sources, chosen, place, workers=workers, progress=True)
    say(f"{place} has these sources, unchanged: used again" if made.reused else made.summary())
    return made


def fit_to_dataset(config: Config, dataset: "Dataset", given: Mapping[str, Any]) -> Config:
    """The configuration with the windows of the dataset. Raises OptionError where an option `given` asks for others."""
    made = {name: dataset.info["options"][name] for name in ("bars", "meter", "pair_bars", "programs")}
    made["programs"] = programs.text(frozenset(made["programs"]))
    for name in options.DATA_OPTIONS:
        if given[name] is not None and getattr(config.data, name) != made[name]:
            option = name.replace("_", "-")
            raise OptionError(f"--{option} {given[name]}: {dataset.path} was prepared with {option} {made[name]}")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **made))


def _report(result: "TrainResult") -> None:
    """Where the results are, how good they are, and what to try next."""
    if result.skipped_steps:
        say(f"skipped: {count(result.skipped_steps, 'step')} with a loss or gradient that was not finite")
    best = ", ".join(f"{name} {result.best[name]:.4g}" for name in SHOWN if name in result.best)
    say(f"{count(result.steps, 'step')} in {count(result.epochs, 'epoch')}{'; best on valid: ' * bool(best)}{best}")
    say(
        f"the model is in {result.run}, its figures in {result.run / 'metrics.csv'}, "
        f"what it sounded like meanwhile in {result.run / 'previews'}"
    )
    if result.stopped == "interrupted":
        say(f"go on with: seqvae train --resume --out {result.run}")
        raise typer.Exit(INTERRUPTED)
    if result.stopped == "early":
        say("it ended early: the valid score did not get better any more")
    say(f"try it: seqvae sample --model {result.run}")
