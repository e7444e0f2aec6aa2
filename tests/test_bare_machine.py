"""A machine with torch and numpy but no music library trains from a prepared dataset and samples."""

import subprocess
import sys
from pathlib import Path

from data_prep.dataset import prepare
from data_prep.score import Note, Score
from data_prep.windows import MelodyOptions

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
libraries = "symusic pretty_midi music21 matplotlib mido typer sklearn scipy tensorboard joblib distributed"
for absent in libraries.split():
    sys.modules[absent] = None  # importing it raises ImportError

import dataclasses
from pathlib import Path
import seqvae
from seqvae.config import Config, ModelConfig, TrainConfig
from seqvae.training import train

model = ModelConfig(encoder_size=8, decoder_size=8, latent_size=4)
config = Config("bare", model=model, training=TrainConfig(steps=2, batch_size=4, device="cpu", precision="fp32"))
train(config, Path(sys.argv[1]), Path(sys.argv[2]))
print(seqvae.load(sys.argv[2]).sample(2, seed=0)[0].steps)
"""


def test_training_and_sampling_need_no_music_library(tmp_path: Path) -> None:
    for tune in range(6):
        notes = tuple(Note(60 + (tune * 7 + 5 * place) % 12, 4 * place, 4 * place + 4) for place in range(24))
        Score(notes, 96).write_midi(tmp_path / "tunes" / f"{tune}.mid")
    prepare([tmp_path / "tunes"], tmp_path / "dataset", MelodyOptions(), workers=1)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "dataset"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "32"


def test_the_checks_of_a_gpu_need_torch_and_numpy_alone() -> None:
    absent = "symusic pretty_midi music21 matplotlib typer sklearn scipy joblib safetensors tqdm"
    code = f"import sys; sys.modules.update(dict.fromkeys({absent.split()})); import benchmarks.gpu"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
