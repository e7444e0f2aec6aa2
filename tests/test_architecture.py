"""The house keeps its floors: imports run downwards, in no circle, and heavy libraries wait until they are needed.

data_prep < seqvae < cli. Everything is read with `ast`, imports inside functions too, and nothing is imported. The
checks are plain functions of {module: source}, so that each is first shown a made-up house that breaks its rule.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"data_prep": 0, "seqvae": 1, "cli": 2}
DOORS = {"seqvae.trained", "seqvae.data"}  # the only rooms of seqvae that may look into data_prep
HEAVY = {"torch", "music21", "matplotlib", "sklearn", "symusic", "pretty_midi", "joblib", "dask", "distributed"}
LIGHT_ROOMS = {  # what the command line reads before any work starts
    *("seqvae", "seqvae.config", "seqvae.checks", "seqvae.presets", "seqvae.errors", "seqvae.run_folder")
}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users|opt|mnt|media)/\w")
INDEX_HOST = re.compile(
    r"https?://[^\s\"'>)]*(?:pypi|pythonhosted|/simple\b|/whl\b)|--(?:extra-)?index-url|--find-links"
)

Sources = dict[str, str]  # module name -> its text


def project_sources() -> Sources:
    """Every module of the three floors, under its dotted name."""
    found = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: all but the bodies of functions and `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_import(node)


def imported(nodes: Iterator[ast.AST], package: str) -> set[str]:
    """Full names of what the nodes import: `from a import b` may mean the module a.b or a name in a, so both."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def package_of(module: str, sources: Sources) -> str:
    """The package that a relative import in `module` starts from."""
    is_package = any(name.startswith(f"{module}.") for name in sources)
    return module if is_package else module.rpartition(".")[0]


def arrows(sources: Sources) -> dict[str, set[str]]:
    """For each module the modules of the house that it imports anywhere.

    A package that is passed through on the way to one of its modules does not count: `from p import m` means p.m.
    """
    found = {}
    for module, text in sources.items():
        names = imported(ast.walk(ast.parse(text)), package_of(module, sources))
        known = names & sources.keys()
        passed = {name.rpartition(".")[0] for name in known}
        direct = {name for name in known if name not in passed}
        found[module] = direct - {module}
    return found


def upward(sources: Sources) -> list[str]:
    """Arrows that run from a lower floor to a higher one."""
    pairs = [(a, b) for a, targets in arrows(sources).items() for b in sorted(targets)]
    return [f"{a} -> {b}" for a, b in pairs if FLOORS[b.split(".")[0]] > FLOORS[a.split(".")[0]]]


def beside_the_doors(sources: Sources) -> list[str]:
    """Modules of seqvae that look into data_prep and are no door."""
    return [
        f"{a} -> {b}"
        for a, targets in arrows(sources).items()
        for b in sorted(targets)
        if a.split(".")[0] == "seqvae" and b.split(".")[0] == "data_prep" and a not in DOORS
    ]


def circle(sources: Sources) -> list[str]:
    """The modules of one import circle, or nothing."""
    edges = arrows(sources)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for target in sorted(edges[module]):
                if found := visit(target, [*path, module]):
                    return found
            done.add(module)
        return []

    return next((found for module in edges if (found := visit(module, []))), [])


def heavy_at_import(sources: Sources) -> list[str]:
    """Heavy libraries that modules of cli, of data_prep and the light ones of seqvae import on being imported."""
    found = []
    for module, text in sources.items():
        if module.split(".")[0] == "seqvae" and module not in LIGHT_ROOMS:
            continue
        names = imported(at_import(ast.parse(text)), package_of(module, sources))
        found += [f"{module}: {name}" for name in sorted(names) if name.split(".")[0] in HEAVY]
    return found


def unsafe_loading(sources: Sources) -> list[str]:
    """Ways to run code out of a file that a user hands over: pickle, and what is pickle inside."""
    found = []
    for module, text in sources.items():
        tree = ast.parse(text)
        names = imported(ast.walk(tree), package_of(module, sources))
        found += [
            f"{module}: {name}"
            for name in names
            if name.split(".")[0] in {"pickle", "cPickle", "dill"} or name == "joblib.load"
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                call, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
                if call == "joblib.load":
                    found.append(f"{module}: joblib.load")
                if call == "torch.load" and keywords.get("weights_only") != "True":
                    found.append(f"{module}: torch.load without weights_only=True")
                if keywords.get("allow_pickle", "False") != "False":
                    found.append(f"{module}: {call} with allow_pickle")
    return found


def tracked_texts() -> Iterator[tuple[str, str]]:
    """The text files of the repository, as they lie in the working tree."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("no git checkout here: which files belong to the project is not known")
    for name in listing.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.resolve() != Path(__file__).resolve():
            data = path.read_bytes()
            if b"\0" not in data:
                yield name, data.decode("utf-8", errors="replace")


BROKEN_HOUSES = [
    pytest.param(upward, {"data_prep.a": "def f():\n  import seqvae.b", "seqvae.b": ""}, id="upwards, in a function"),
    pytest.param(upward, {"seqvae.b": "from cli import c", "cli.c": "", "cli": ""}, id="upwards, from package"),
    pytest.param(beside_the_doors, {"seqvae.vae": "import data_prep.a", "data_prep.a": ""}, id="beside the doors"),
    pytest.param(beside_the_doors, {"seqvae": "from data_prep import a", "data_prep.a": ""}, id="package as a door"),
    pytest.param(circle, {"cli.a": "import cli.b", "cli.b": "def f():\n  from cli.a import g"}, id="circle of two"),
    pytest.param(circle, {"cli": "", "cli.a": "from . import b", "cli.b": "from .a import c"}, id="relative circle"),
    pytest.param(circle, {"cli": "from cli.a import f", "cli.a": "from cli import g"}, id="circle through a package"),
    pytest.param(heavy_at_import, {"cli.a": "import torch.nn as nn"}, id="torch at the top"),
    pytest.param(heavy_at_import, {"data_prep.a": "try:\n  from symusic import Score\nexcept E: pass"}, id="in a try"),
    pytest.param(heavy_at_import, {"seqvae.config": "class A:\n  import torch"}, id="in a class"),
    pytest.param(unsafe_loading, {"seqvae.a": "def f(p):\n  import pickle"}, id="pickle"),
    pytest.param(unsafe_loading, {"seqvae.a": "from joblib import load"}, id="joblib's load"),
    pytest.param(unsafe_loading, {"seqvae.a": "import joblib\njoblib.load(p)"}, id="joblib.load"),
    pytest.param(unsafe_loading, {"seqvae.a": "torch.load(p)"}, id="torch.load"),
    pytest.param(unsafe_loading, {"seqvae.a": "torch.load(p, weights_only=False)"}, id="torch.load, unsafe"),
    pytest.param(unsafe_loading, {"seqvae.a": "np.load(p, allow_pickle=True)"}, id="numpy's pickle"),
]

SOUND_HOUSES = [
    pytest.param(upward, {"cli.c": "import seqvae.b, data_prep.a", "seqvae.b": "", "data_prep.a": ""}, id="downwards"),
    pytest.param(beside_the_doors, {"seqvae.data": "from data_prep.a import f", "data_prep.a": ""}, id="by the door"),
    pytest.param(circle, {"cli": "", "cli.a": "from cli import b", "cli.b": ""}, id="a row"),
    pytest.param(heavy_at_import, {"cli.a": "def f():\n  import torch"}, id="torch on use"),
    pytest.param(heavy_at_import, {"seqvae.vae": "import torch"}, id="torch where it belongs"),
    pytest.param(heavy_at_import, {"cli.a": "if TYPE_CHECKING:\n  import torch"}, id="torch for the types"),
    pytest.param(unsafe_loading, {"seqvae.a": "torch.load(p, weights_only=True)"}, id="torch.load, safe"),
    pytest.param(unsafe_loading, {"seqvae.a": "import joblib\njoblib.Parallel(2)"}, id="joblib's processes"),
]


@pytest.mark.parametrize(("checker", "sources"), BROKEN_HOUSES)
def test_a_broken_house_is_found_out(checker, sources):
    assert checker(sources)


@pytest.mark.parametrize(("checker", "sources"), SOUND_HOUSES)
def test_a_sound_house_passes(checker, sources):
    assert not checker(sources)


@pytest.mark.parametrize("checker", [upward, beside_the_doors, circle, heavy_at_import, unsafe_loading])
def test_the_house(checker):
    sources = project_sources()
    assert len(sources) > 20, "the floors were not found"
    assert not checker(sources)


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (MACHINE_PATH, 'open("/home/ann/x.mid")', "a/home/run or example.org/opt/x"),
        (INDEX_HOST, "pip install --index-url x", "https://arxiv.org/abs/1803.05428"),
    ],
)
def test_texts_name_no_machine_and_no_index(pattern, bad, good):
    assert pattern.search(bad)
    assert not pattern.search(good)
    assert not [f"{name}: {hit.group()}" for name, text in tracked_texts() if (hit := pattern.search(text))]
