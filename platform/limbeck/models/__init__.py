"""What classifies and what invents: teacher, student and generator behind one face."""

from limbeck.models.classifier import Classifier, HubClassifier, Output, parameters, parameters_non_embedding
from limbeck.models.families import ModelFacts, facts_of
from limbeck.models.fitting import GeneratorFit, fit_generator
from limbeck.models.generator import (
    Generator,
    GeneratorConfig,
    generators_within,
    load_generator,
    new_generator,
    save_generator,
)
from limbeck.models.loading import (
    MODEL_FILES,
    class_names,
    import_models,
    load_base,
    load_classifier,
    load_facts,
    load_tokenizer,
    resolve,
    save_classifier,
)
from limbeck.models.student import StudentConfig, StudentSizes, new_student, student_sizes
from limbeck.models.vocabulary import check_same_tables, check_same_vocabulary

__all__ = [
    "MODEL_FILES",
    "Classifier",
    "Generator",
    "GeneratorConfig",
    "GeneratorFit",
    "HubClassifier",
    "ModelFacts",
    "Output",
    "StudentConfig",
    "StudentSizes",
    "check_same_tables",
    "check_same_vocabulary",
    "class_names",
    "facts_of",
    "fit_generator",
    "generators_within",
    "import_models",
    "load_base",
    "load_classifier",
    "load_facts",
    "load_generator",
    "load_tokenizer",
    "new_generator",
    "new_student",
    "parameters",
    "parameters_non_embedding",
    "resolve",
    "save_classifier",
    "save_generator",
    "student_sizes",
]
