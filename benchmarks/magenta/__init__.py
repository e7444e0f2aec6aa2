"""Magenta's MusicVAE, the peer, beside seqvae on one machine.

    sh benchmarks/magenta/setup.sh [FOLDER]                  an environment of its own; prints its PYTHON
    python -m benchmarks.run --magenta PYTHON                the table of speeds, both in turn
    python -m benchmarks.magenta.compare --magenta PYTHON    both trained on the same windows, and compared

Magenta 2.1.4 of 2022 asks for versions that Python 3.11 cannot have; requirements.txt holds the nearest that work, all
pinned, and setup.sh installs them as they stand, without what they ask for themselves: TensorFlow 2.15 for processors
(the last with the TensorFlow 1 that Magenta is written in), numpy 1.23 (the last with np.bool), note-seq 0.0.5. Linux
on x86 and a python3.11 are needed, and 2 GB.

Inside that environment run `graph`, `time_magenta` and `train_magenta`, with Magenta's own modules; here runs the
rest. Not a line of Magenta is changed: its configurations, its model, its loss and its optimizer are used as they are.
"""
