"""From text to batches: corpus, tokenizer, token file, windows, shards."""

from __future__ import annotations

from crystalline.data.batches import batch_indices, cut_into_shards, epoch_order, steps_per_epoch
from crystalline.data.corpus import Corpus
from crystalline.data.statistics import token_counts, unigram_cross_entropy
from crystalline.data.text_stream import decoded, encode_stream, word_pieces
from crystalline.data.tokenizer import END_OF_TEXT, tokenizer_from_json, train_tokenizer
from crystalline.data.tokens import PreparedTokens, default_cache_dir, encode_documents, prepare_tokens
from crystalline.data.windows import PADDING_TARGET, Windows

__all__ = [
    "END_OF_TEXT",
    "PADDING_TARGET",
    "Corpus",
    "PreparedTokens",
    "Windows",
    "batch_indices",
    "cut_into_shards",
    "decoded",
    "default_cache_dir",
    "encode_documents",
    "encode_stream",
    "epoch_order",
    "prepare_tokens",
    "steps_per_epoch",
    "token_counts",
    "tokenizer_from_json",
    "train_tokenizer",
    "unigram_cross_entropy",
    "word_pieces",
]
