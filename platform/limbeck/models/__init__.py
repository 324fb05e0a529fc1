"""What classifies and what invents: teacher, student and generator behind one face."""

from limbeck.models.classifier import Classifier, HubClassifier, Output, parameters, parameters_non_embedding
from limbeck.models.families import ModelFacts
from limbeck.models.generator import Generator, GeneratorConfig
from limbeck.models.loading import (
    class_names,
    from_base,
    load_classifier,
    load_tokenizer,
    resolve,
    save_classifier,
)
from limbeck.models.student import StudentConfig, StudentSizes, new_student, student_sizes
from limbeck.models.vocabulary import check_same_vocabulary

__all__ = [
    "Classifier",
    "Generator",
    "GeneratorConfig",
    "HubClassifier",
    "ModelFacts",
    "Output",
    "StudentConfig",
    "StudentSizes",
    "check_same_vocabulary",
    "class_names",
    "from_base",
    "load_classifier",
    "load_tokenizer",
    "new_student",
    "parameters",
    "parameters_non_embedding",
    "resolve",
    "save_classifier",
    "student_sizes",
]
