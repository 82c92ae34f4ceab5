"""Options from a file."""

import pytest

TABLE = """
[predict]
model = "mt-hybrid-state"
mask = "{head}/mask.nii.gz"
noise-std = 0.02
quiet = true
out = "maps"
"""


def test_options_of_a_file(run, head, tmp_path):
    (tmp_path / "settings.toml").write_text(TABLE.format(head=head))
    code, _, err = run("predict", head / "coefficients.nii.gz", "--config", "settings.toml")
    assert (code, err) == (0, "")
    assert (tmp_path / "maps/desc-std_T1map.nii.gz").exists()


def test_the_command_line_wins(run, head, tmp_path):
    (tmp_path / "settings.toml").write_text(TABLE.format(head=head))
    assert run("predict", head / "coefficients.nii.gz", "--config", "settings.toml", "--out", "other")[0] == 0
    assert (tmp_path / "other").exists()
    assert not (tmp_path / "maps").exists()


def test_lists_and_tables(run, tmp_path):
    (tmp_path / "mono.py").write_text(
        "import numpy as np\nfrom crbestim import MonoExponentialModel\n"
        "model = MonoExponentialModel(np.linspace(0.005, 0.3, 12))\n"
    )
    (tmp_path / "prior.toml").write_text("T2 = [0.02, 0.2]\n")
    (tmp_path / "settings.toml").write_text(
        '[train]\nsignal-model = "mono.py:model"\nprior = "prior.toml"\ncomponents = 4\nsamples = 300\nepochs = 2\n'
        'snr = [20, 200]\ntargets = ["T2"]\nloss = "crb"\nquiet = true\n'
    )
    code, out, err = run("train", "--config", "settings.toml", "--out", "net.safetensors")
    assert code == 0, err
    assert "2 epochs" in out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[predict]\nsmoothing = 3\n", "has no option 'smoothing'"),
        ("[predict]\nquiet = 1\n", "quiet must be true or false"),
        ("[estimate]\nmask = 'a'\n", "tables named after commands"),
        ("mask = 'a'\n", "tables named after commands"),
        ("[predict\n", "no TOML file"),
        ("[predict]\nnoise-std = -1\n", "must be a positive number"),
    ],
)
def test_wrong_files_are_wrong_usage(run, tmp_path, text, complaint):
    (tmp_path / "settings.toml").write_text(text)
    code, _, err = run("predict", "a.nii", "--model", "x", "--out", "maps", "--config", "settings.toml")
    assert code == 2
    assert complaint in err


def test_missing_file(run):
    code, _, err = run("predict", "a.nii", "--model", "x", "--out", "maps", "--config", "nowhere.toml")
    assert code == 2
    assert "nowhere.toml: No such file" in err


def test_a_list_leaves_the_positional_alone(run, head, tmp_path):
    (tmp_path / "settings.toml").write_text('[fit]\ntargets = ["T1"]\n')
    code, _, err = run("fit", "--config", "settings.toml", "none.nii", "--out", "maps")
    assert code == 1
    assert "none.nii does not exist" in err


def test_the_command_line_replaces_what_it_excludes(run, head, tmp_path):
    (tmp_path / "settings.toml").write_text(TABLE.format(head=head))
    arguments = ["predict", head / "coefficients.nii.gz", "--config", "settings.toml"]
    code, _, err = run(*arguments, "--background", head / "background.nii.gz")
    assert (code, err) == (0, "")
