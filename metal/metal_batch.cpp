#include "metal/metal_batch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "base/error.h"
#include "metal/kernels/arguments.h"

namespace tritium {
namespace {

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Tables that go to the device in one buffer.
class TableWriter {
 public:
  template <class T>
  size_t add(const std::vector<T>& values) {
    const size_t offset = bytes_.size();
    const auto source = std::as_bytes(std::span(values));
    bytes_.insert(bytes_.end(), source.begin(), source.end());
    bytes_.resize(aligned(bytes_.size()));
    return offset;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

bool is_single(const SequenceInput& input) { return input.token_ids.size() == 1; }

int64_t vocab(const MetalModel& model) { return model.model().config().vocab_size; }

}  // namespace

struct MetalBatch::Tables {
  std::vector<int32_t> token_ids;
  std::vector<uint32_t> positions;
  std::vector<uint32_t> sequences;
  std::vector<uint32_t> page_table;
  std::vector<AttentionTile> tiles;
  std::vector<int32_t> output_rows;
};

MetalBatch::MetalBatch(const MetalModel& model, const MetalContext& context, size_t device, MetalKVCache& cache,
                       const Batch& batch, const std::vector<size_t>& places)
    : model_(model),
      pages_(cache.pages(device)),
      cache_(cache),
      batch_(batch),
      commands_(context.device(), concat("a pass of '", model.name(), "'")) {
  for (const bool single : {true, false}) {
    for (const size_t place : places) {
      if (is_single(batch.sequences[place]) == single) places_.push_back(place);
    }
  }
  const Tables tables = make_tables();
  arena_ = context.memory->allocate(model.arena().bytes(), kArenaMemory);
  if (rows_.outputs > 0) {
    results_.emplace(
        *context.memory,
        aligned(result_places().end) + static_cast<size_t>(metal_argmax_scratch_bytes(rows_.outputs, vocab(model))),
        kOutputMemory);
  }
  TableWriter writer;
  const size_t offsets[] = {writer.add(tables.token_ids), writer.add(tables.positions),
                            writer.add(tables.sequences), writer.add(tables.page_table),
                            writer.add(tables.tiles),     writer.add(tables.output_rows)};
  tables_ = context.memory->allocate_shared(writer.bytes().size(), kArenaMemory);
  const MetalView view = MetalMemory::view(tables_);
  std::memcpy(view.host<std::byte>(), writer.bytes().data(), writer.bytes().size());

  MetalPass pass = model.pass(device, rows_, MetalMemory::view(arena_));
  pass.token_ids = view.at(offsets[0]);
  pass.positions = view.at(offsets[1]);
  pass.sequences = view.at(offsets[2]);
  pass.page_table = view.at(offsets[3]);
  pass.tiles = view.at(offsets[4]);
  pass.output_rows = view.at(offsets[5]);
  pass.kv_pages = pages_.view();
  pass.max_pages = max_pages_;
  pass.kv_page_bytes = pages_.page_bytes();
  if (results_) pass.output = results_->view();

  pages_.encode_copies(commands_);
  MetalEncoder encoder(*context.pipelines, commands_.kernels());
  for (const Step& step : model.plan().steps) encode_step(encoder, pass, step);
  if (!results_) return;
  const ResultPlaces at = result_places();
  if (wants_argmax_) {
    encode_argmax(encoder, pass.output, rows_.outputs, vocab(model), pass.output.at(at.largest), pass.output.at(at.ids),
                  pass.output.at(aligned(at.end)));
  }
  results_->to_host(commands_, at.end);
}

MetalBatch::Tables MetalBatch::make_tables() {
  Tables tables;
  int64_t tile_tokens = 1;
  for (const Step& step : model_.plan().steps) {
    if (const auto* attention = std::get_if<AttentionStep>(&step.kind)) {
      tile_tokens = metal_tile_tokens(attention->attention);
    }
  }
  std::vector<std::vector<int64_t>> pages;
  for (const size_t place : places_) {
    const SequenceInput& input = batch_.sequences[place];
    const int64_t count = static_cast<int64_t>(input.token_ids.size());
    const int64_t position = cache_.length(input.sequence) - count;
    const int64_t first_row = rows_.tokens;
    const auto sequence = static_cast<uint32_t>(pages.size());
    pages.push_back(cache_.page_numbers(input.sequence));
    const int64_t page_count = static_cast<int64_t>(pages.back().size());
    max_pages_ = std::max(max_pages_, page_count);
    output_rows_.push_back(rows_.outputs);
    for (int64_t i = 0; i < count; ++i) {
      tables.token_ids.push_back(input.token_ids[static_cast<size_t>(i)]);
      tables.positions.push_back(static_cast<uint32_t>(position + i));
      tables.sequences.push_back(sequence);
      const bool wanted = input.want == Want::kAll || (input.want != Want::kNothing && i == count - 1);
      if (wanted) tables.output_rows.push_back(static_cast<int32_t>(first_row + i));
    }
    rows_.tokens += count;
    rows_.outputs = static_cast<int64_t>(tables.output_rows.size());
    wants_argmax_ = wants_argmax_ || input.want == Want::kArgmax;
    if (is_single(input)) {
      ++rows_.single;
      rows_.pages = std::max(rows_.pages, page_count);
      continue;
    }
    for (int64_t first = 0; first < count; first += tile_tokens) {
      const int64_t tokens = std::min(tile_tokens, count - first);
      tables.tiles.push_back({static_cast<uint32_t>(first_row + first), static_cast<uint32_t>(tokens), sequence,
                              static_cast<uint32_t>(position + first)});
    }
  }
  rows_.tiles = static_cast<int64_t>(tables.tiles.size());
  tables.page_table.resize(pages.size() * static_cast<size_t>(max_pages_));
  for (size_t i = 0; i < pages.size(); ++i) {
    std::ranges::copy(pages[i], tables.page_table.begin() + static_cast<std::ptrdiff_t>(i) * max_pages_);
  }
  return tables;
}

MetalBatch::ResultPlaces MetalBatch::result_places() const {
  const auto outputs = static_cast<size_t>(rows_.outputs);
  const size_t largest = outputs * static_cast<size_t>(vocab(model_)) * sizeof(float);
  const size_t ids = largest + outputs * sizeof(float);
  return {largest, ids, ids + outputs * sizeof(int32_t)};
}

void MetalBatch::wait() {
  commands_.wait();
  pages_.copies_are_done();
}

MemoryPool::Buffer MetalBatch::take_outputs(std::vector<SequenceOutput>& outputs) {
  if (!results_) return {};
  const std::byte* results = results_->host();
  const auto* logits = reinterpret_cast<const float*>(results);
  const auto* largest = reinterpret_cast<const float*>(results + result_places().largest);
  const auto* ids = reinterpret_cast<const int32_t*>(results + result_places().ids);
  for (size_t i = 0; i < places_.size(); ++i) {
    const SequenceInput& input = batch_.sequences[places_[i]];
    if (input.want == Want::kNothing) continue;
    SequenceOutput& output = outputs[places_[i]];
    const int64_t row = output_rows_[i];
    output.rows = input.want == Want::kAll ? static_cast<int64_t>(input.token_ids.size()) : 1;
    output.logits = logits + row * vocab(model_);
    if (input.want != Want::kArgmax) continue;
    // On every backend the first logit stays if it is NaN, or if none is larger.
    const bool first_stays = ids[row] < 0 || std::isnan(output.logits[0]);
    output.argmax = first_stays ? 0 : ids[row];
    output.argmax_logit = first_stays ? output.logits[0] : largest[row];
  }
  return std::move(*results_).take_shared();
}

}  // namespace tritium
