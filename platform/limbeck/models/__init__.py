"""What classifies and what invents: teacher, student and generator behind one face."""

from limbeck.models.classifier import Classifier, HubClassifier, Output
from limbeck.models.generator import Generator, GeneratorConfig
from limbeck.models.student import StudentConfig, new_student
from limbeck.models.vocabulary import check_same_vocabulary

__all__ = [
    "Classifier",
    "Generator",
    "GeneratorConfig",
    "HubClassifier",
    "Output",
    "StudentConfig",
    "check_same_vocabulary",
    "new_student",
]
