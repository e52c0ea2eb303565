# The names of the public face, and the modules that define them. `__init__.py` reads this file when
# it is imported, and type checkers read it too: it is the only list.

from .checkpoints.models import load_model as load_model
from .checkpoints.models import load_recommender as load_recommender
from .checkpoints.models import load_rqvae as load_rqvae
from .checkpoints.models import load_sasrec as load_sasrec
from .checkpoints.models import save_recommender as save_recommender
from .checkpoints.models import save_rqvae as save_rqvae
from .checkpoints.models import save_sasrec as save_sasrec
from .data.dataset import Dataset as Dataset
from .data.splits import Split as Split
from .data.splits import global_timestamp as global_timestamp
from .data.splits import leave_last_out as leave_last_out
from .data.splits import leave_one_out as leave_one_out
from .datasets.registry import load_dataset as load_dataset
from .embeddings.collaborative import collaborative_vectors as collaborative_vectors
from .embeddings.item_vectors import item_vectors as item_vectors
from .embeddings.text import encode_texts as encode_texts
from .embeddings.text import load_embeddings as load_embeddings
from .evaluation.evaluator import difference as difference
from .evaluation.evaluator import evaluate as evaluate
from .generation.beam_search import recommend as recommend
from .generation.mixture import Mixture as Mixture
from .generation.scoring import score_items as score_items
from .models.configs import DecoderOnlyConfig as DecoderOnlyConfig
from .models.configs import EncoderDecoderConfig as EncoderDecoderConfig
from .models.configs import RQTransformerConfig as RQTransformerConfig
from .models.configs import SASRecConfig as SASRecConfig
from .models.item_knn import ItemKNN as ItemKNN
from .models.near_pairs import NearPairs as NearPairs
from .models.popularity import Popularity as Popularity
from .semantic_ids.catalogue import SemanticIDs as SemanticIDs
from .semantic_ids.exports import export_ids as export_ids
from .semantic_ids.files import read_ids as read_ids
from .semantic_ids.files import write_ids as write_ids
from .semantic_ids.imports import import_ids as import_ids
from .semantic_ids.trie import Trie as Trie
from .tokenizer.config import RQVAEConfig as RQVAEConfig
from .tokenizer.metrics import tokenizer_metrics as tokenizer_metrics
from .training.config import RECOMMENDER_TRAINING as RECOMMENDER_TRAINING
from .training.config import RQVAE_TRAINING as RQVAE_TRAINING
from .training.config import TrainingConfig as TrainingConfig
from .training.recipes import train_recommender as train_recommender
from .training.recipes import train_rqvae as train_rqvae
from .training.recipes import train_sasrec as train_sasrec

__version__: str
