"""LARS at a constant rate: the command, and what it prints."""

import json

import keras

from reproduction import collapse
from reproduction.__main__ import main
from tests.reproduction.helpers import small_network


def test_collapse_prints_table_and_warning(monkeypatch, tmp_path, capsys, few_data):
    flags = ["collapse", "--quick", "--seeds", "3", "--output", str(tmp_path)]
    monkeypatch.setattr(collapse, "BATCH", 300)
    monkeypatch.setattr(collapse, "network", small_network)
    if keras.backend.backend() != "torch":  # which compiles nothing: the arms that differ below
        arms = {name: collapse.ARMS[name] for name in ("neither", "weight decay 1e-4")}
        monkeypatch.setattr(collapse, "ARMS", arms)
    main(flags)
    printed = capsys.readouterr().out
    assert "4 updates" in printed
    assert "8 updates" in printed
    assert "long trainings collapse" in printed
    content = json.loads((tmp_path / "results.json").read_text())
    looks = {
        (training["arm"], look["updates"]): look
        for training in content["trainings"]
        for look in training["looks"]
    }
    assert len(looks) == 2 * len(collapse.ARMS)
    assert looks["neither", 8]["kernel_norm"] > looks["neither", 4]["kernel_norm"]
    assert looks["weight decay 1e-4", 8]["kernel_norm"] < looks["neither", 8]["kernel_norm"]
    main(flags)
    assert capsys.readouterr().out.count("kept from an earlier run") == len(collapse.ARMS)
