#include "engine/session.h"

#include <algorithm>

#include "base/error.h"

namespace tritium {
namespace {

// A part of a feed that runs in one pass.
struct Piece {
  size_t feed;
  size_t first;  // token of the feed
  size_t count;
};

// Cuts feeds into passes of at most `limit` tokens.
std::vector<std::vector<Piece>> cut(const std::vector<Feed>& feeds, size_t limit) {
  std::vector<std::vector<Piece>> passes;
  size_t room = 0;
  for (size_t i = 0; i < feeds.size(); ++i) {
    const size_t total = feeds[i].token_ids.size();
    for (size_t first = 0; first < total;) {
      if (room == 0) {
        passes.emplace_back();
        room = limit;
      }
      const size_t count = std::min(room, total - first);
      passes.back().push_back({i, first, count});
      first += count;
      room -= count;
    }
  }
  return passes;
}

// What the sampler needs of the logits after the input.
void ask(const Sampler& sampler, SequenceInput& input) {
  input.want = Want::kArgmax;
  if (sampler.wants_argmax_only()) return;
  const std::optional<CandidateQuery> query = sampler.query();
  input.want = query ? Want::kCandidates : Want::kLast;
  if (query) input.query = *query;
}

}  // namespace

Session::Session(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
                 const SessionOptions& options)
    : engine_(std::move(engine)) {
  const PlanOptions plan_options = engine_->plan_options(*model, options);
  prepared_ = engine_->prepare(std::move(model), plan_options);
  engine_->run([&](InferenceBackend& backend) { cache_ = backend.create_cache(*prepared_); });
}

void Session::check_room_for_sequence() const {
  const int64_t most = plan().options.max_sequences;
  if (static_cast<int64_t>(samplers_.size()) >= most) {
    throw BatchProcessingError(
        concat("[session] ", samplers_.size(), " of ", most, " sequences are open; close one or raise max_sequences"));
  }
}

Sampler& Session::sampler(SequenceId sequence) {
  const auto found = samplers_.find(sequence);
  if (found == samplers_.end()) {
    throw BatchProcessingError(concat("[session] sequence ", sequence, " is not open; ", samplers_.size(), " are"));
  }
  return found->second;
}

HeadStatistics Session::head_statistics() {
  return engine_->run([&](InferenceBackend&) { return prepared_->head_statistics(); });
}

SequenceId Session::open(const SamplingOptions& sampling) {
  Sampler sampler(sampling);
  sampling.check_ids(prepared_->model().config().vocab_size);
  return engine_->run([&](InferenceBackend&) {
    check_room_for_sequence();
    const SequenceId id = cache_->create();
    samplers_.emplace(id, std::move(sampler));
    return id;
  });
}

SequenceId Session::fork(SequenceId sequence, const SamplingOptions& sampling) {
  Sampler sampler(sampling);
  sampling.check_ids(prepared_->model().config().vocab_size);
  return engine_->run([&](InferenceBackend&) {
    check_room_for_sequence();
    sampler.observe(this->sampler(sequence).recent());
    const SequenceId id = cache_->fork(sequence);
    samplers_.emplace(id, std::move(sampler));
    return id;
  });
}

void Session::close(SequenceId sequence) {
  engine_->run([&](InferenceBackend&) {
    cache_->free(sequence);
    samplers_.erase(sequence);
  });
}

int64_t Session::length(SequenceId sequence) {
  return engine_->run([&](InferenceBackend&) { return cache_->length(sequence); });
}

void Session::truncate(SequenceId sequence, int64_t length) {
  engine_->run([&](InferenceBackend&) {
    const int64_t forgotten = cache_->length(sequence) - length;
    cache_->truncate(sequence, length);
    sampler(sequence).forget(forgotten);
  });
}

// Everything that execute_batch would refuse in a later pass is refused before the first.
void Session::check(const std::vector<Feed>& feeds) const {
  const int64_t vocab = prepared_->model().config().vocab_size;
  for (size_t i = 0; i < feeds.size(); ++i) {
    const Feed& feed = feeds[i];
    for (size_t j = 0; j < i; ++j) {
      if (feeds[j].sequence == feed.sequence) {
        throw BatchProcessingError(concat("[session] sequence ", feed.sequence, " is fed twice in one step"));
      }
    }
    if (feed.token_ids.empty()) {
      throw BatchProcessingError(concat("[session] sequence ", feed.sequence, " is fed 0 tokens; it needs at least 1"));
    }
    const int64_t length = cache_->length(feed.sequence);
    const int64_t count = static_cast<int64_t>(feed.token_ids.size());
    if (length + count > context_size()) {
      throw BatchProcessingError(
          concat("[session] ", length, " + ", count, " tokens do not fit the context of ", context_size()));
    }
    for (size_t place = 0; place < feed.token_ids.size(); ++place) {
      const int32_t id = feed.token_ids[place];
      if (id < 0 || id >= vocab) {
        throw BatchProcessingError(
            concat("[session] token id ", id, " at place ", place, " lies outside [0, ", vocab, ")"));
      }
    }
  }
}

std::vector<SampledToken> Session::step(const std::vector<Feed>& feeds) {
  return engine_->run([&](InferenceBackend& backend) {
    check(feeds);
    std::vector<int64_t> lengths;
    std::vector<Sampler> samplers;
    for (const Feed& feed : feeds) {
      lengths.push_back(cache_->length(feed.sequence));
      samplers.push_back(sampler(feed.sequence));
    }
    std::vector<SampledToken> results(feeds.size());
    try {
      for (const std::vector<Piece>& pieces : cut(feeds, static_cast<size_t>(plan().options.max_tokens))) {
        Batch batch;
        for (const Piece& piece : pieces) {
          const Feed& feed = feeds[piece.feed];
          const auto first = feed.token_ids.begin() + static_cast<std::ptrdiff_t>(piece.first);
          SequenceInput input{feed.sequence, {first, first + static_cast<std::ptrdiff_t>(piece.count)}};
          sampler(feed.sequence).observe(input.token_ids);
          if (feed.sample && piece.first + piece.count == feed.token_ids.size()) ask(sampler(feed.sequence), input);
          batch.sequences.push_back(std::move(input));
        }
        const BatchOutput output = backend.execute_batch(*prepared_, *cache_, batch);
        for (size_t i = 0; i < pieces.size(); ++i) {
          if (batch.sequences[i].want == Want::kNothing) continue;
          results[pieces[i].feed] = choose(batch.sequences[i], output.sequences[i]);
        }
      }
    } catch (...) {
      for (size_t i = 0; i < feeds.size(); ++i) {
        cache_->truncate(feeds[i].sequence, lengths[i]);
        sampler(feeds[i].sequence) = samplers[i];
      }
      throw;
    }
    return results;
  });
}

SampledToken Session::choose(const SequenceInput& input, const SequenceOutput& output) {
  if (input.want == Want::kArgmax) return SampledToken{output.argmax, std::nullopt, {}};
  if (!output.logits) return sampler(input.sequence).sample(output.candidates);
  const size_t vocab = static_cast<size_t>(prepared_->model().config().vocab_size);
  return sampler(input.sequence).sample(std::span(output.logits, vocab));
}

FloatMatrix Session::logits(SequenceId sequence, std::span<const int32_t> token_ids) {
  return engine_->run([&](InferenceBackend& backend) {
    check({{sequence, {token_ids.begin(), token_ids.end()}, false}});
    FloatMatrix logits = feed_sequence(backend, *prepared_, *cache_, sequence, token_ids);
    sampler(sequence).observe(token_ids);
    return logits;
  });
}

}  // namespace tritium
