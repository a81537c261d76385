"""The papers' figures, a folder a paper and a module a figure."""

from reproduction.figures.gao_zhong.figure_1 import Figure1
from reproduction.figures.gao_zhong.figure_2 import Figure2
from reproduction.figures.gao_zhong.figure_3 import Figure3
from reproduction.figures.gao_zhong.figure_4 import Figure4
from reproduction.figures.gao_zhong.figure_5 import Figure5
from reproduction.figures.gao_zhong.figure_7 import Figure7
from reproduction.figures.gao_zhong.figure_8 import Figure8
from reproduction.figures.gao_zhong.figure_9 import Figure9
from reproduction.figures.gao_zhong.figure_11 import Figure11
from reproduction.figures.gao_zhong.figure_16 import Figure16
from reproduction.figures.hoffer.figure_1 import ErrorByBatch
from reproduction.figures.hoffer.figure_2 import DistanceOverUpdates
from reproduction.figures.hoffer.figure_3 import RegimesCompared
from reproduction.figures.hoffer.figure_4 import RandomPotentialAtStart
from reproduction.figures.hoffer.figure_6 import NoiseOrRate
from reproduction.figures.hoffer.figure_7 import DistanceByBatch
from reproduction.figures.keskar.figure_3 import Path
from reproduction.figures.keskar.figure_4 import Sharpness
from reproduction.figures.keskar.figure_5 import WarmStart
from reproduction.figures.keskar.figure_6 import Training
from reproduction.figures.stretch import Stretch

# In the order of the evidence pages.
FIGURES = (
    *(ErrorByBatch, DistanceOverUpdates, RegimesCompared, RandomPotentialAtStart),
    *(NoiseOrRate, DistanceByBatch, Stretch),
    *(Sharpness, Path, Training, WarmStart),
    *(Figure1, Figure2, Figure3, Figure4, Figure5),
    *(Figure7, Figure8, Figure9, Figure11, Figure16),
)
