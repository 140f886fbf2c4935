#include "backend/cpu_backend.h"

#include <algorithm>
#include <set>

#include "backend/candidates.h"
#include "backend/checks.h"
#include "backend/cpu_kv_cache.h"
#include "backend/cpu_operators.h"
#include "backend/measure_limits.h"
#include "backend/packed_head.h"
#include "backend/packed_weights.h"
#include "base/error.h"
#include "base/float_environment.h"
#include "kernels/dispatch.h"
#include "plan/build_plan.h"

namespace tritium {

class CpuModel final : public PreparedModel {
 public:
  CpuModel(std::shared_ptr<const Model> model, std::shared_ptr<const PackedWeights> weights,
           std::shared_ptr<const PackedHead> head, ExecutionPlan plan, const CustomOperators& operators)
      : model_(std::move(model)),
        name_(model_->name()),
        weights_(std::move(weights)),
        head_(std::move(head)),
        plan_(std::move(plan)) {
    for (const Step& step : plan_.steps) {
      if (const auto* rope = std::get_if<RopeOp>(&step.kind)) add_rope_table(rope->frequencies);
      const auto* attention = std::get_if<AttentionStep>(&step.kind);
      if (attention && attention->rotates) add_rope_table(attention->frequencies);
      if (const auto* op = std::get_if<CustomOp>(&step.kind))
        custom_calls_.push_back(prepare_call(step, *op, operators));
    }
  }

  const Model& model() const override { return *model_; }
  const ExecutionPlan& plan() const override { return plan_; }
  HeadStatistics head_statistics() const override { return head_statistics_; }
  const std::string& name() const { return name_; }
  const Model* address() const { return model_.get(); }
  const PackedWeights& weights() const { return *weights_; }
  const std::shared_ptr<const PackedWeights>& shared_weights() const { return weights_; }
  const std::shared_ptr<const PackedHead>& shared_head() const { return head_; }
  const PackedHead* head() const { return head_.get(); }
  HeadStatistics* head_statistics() { return &head_statistics_; }
  const std::vector<RopeTable>& rope_tables() const { return rope_tables_; }

  std::span<CustomCall> custom_calls() { return custom_calls_; }

 private:
  void add_rope_table(const std::vector<float>& frequencies) {
    for (const RopeTable& table : rope_tables_) {
      if (table.frequencies() == frequencies) return;
    }
    rope_tables_.emplace_back(frequencies, plan_.options.context_size);
  }

  std::shared_ptr<const Model> model_;
  std::string name_;  // of the model, whether it is still there or not
  std::shared_ptr<const PackedWeights> weights_;
  std::shared_ptr<const PackedHead> head_;  // null for a plan without a small copy
  HeadStatistics head_statistics_;
  ExecutionPlan plan_;
  std::vector<RopeTable> rope_tables_;
  std::vector<CustomCall> custom_calls_;
};

namespace {

// Whether each thread takes samples of its own through all steps of a network. It then reads all weights, which costs
// nothing if they stay in the caches of its core, or if each is used for several samples; otherwise the threads share
// the weights of each step.
bool takes_own_samples(const ExecutionPlan& plan, int64_t samples, int threads) {
  constexpr int64_t kCacheBytes = int64_t{512} << 10;
  constexpr int64_t kSamplesWorthReading = 8;
  const int64_t samples_a_thread = plan.weight_bytes_per_token <= kCacheBytes ? 1 : kSamplesWorthReading;
  return threads > 1 && samples >= samples_a_thread * threads;
}

const DenseWeight& head_weight(const Model& model, const HeadStep& head) {
  return model.dense_weights()[static_cast<size_t>(head.weight)];
}

int64_t packed_head_bytes(const Model& model, const ExecutionPlan& plan) {
  const HeadStep* head = plan.head();
  return head ? packed_head_bytes(head_weight(model, *head).tensor, head->bits()) : 0;
}

// Bytes of scratch for the queries of one pass.
int64_t head_scratch_bytes(const ExecutionPlan& plan, int64_t queries) {
  const HeadStep* head = plan.head();
  if (!head || !head->screens()) return 0;
  return head_scratch_size(plan.values[plan.output].width, queries) * static_cast<int64_t>(sizeof(float));
}

// Adds one sequence's tokens to the pass; the output row range it will own.
void add_rows(ForwardPass& pass, const SequenceInput& input, int64_t first_position, const std::vector<uint8_t*>& pages,
              int64_t group) {
  const int64_t first_row = static_cast<int64_t>(pass.token_ids.size());
  const int64_t count = static_cast<int64_t>(input.token_ids.size());
  for (int64_t i = 0; i < count; ++i) {
    pass.token_ids.push_back(input.token_ids[static_cast<size_t>(i)]);
    pass.positions.push_back(first_position + i);
    const bool last = i == count - 1;
    if (input.want != Want::kAll && (!last || input.want == Want::kNothing)) continue;
    pass.output_rows.push_back(first_row + i);
    static const CandidateQuery largest;
    pass.output_requests.push_back({input.want == Want::kArgmax       ? &largest
                                    : input.want == Want::kCandidates ? &input.query
                                                                      : nullptr,
                                    {}});
  }
  pass.attention_tiles.add(first_row, first_position, count, pages, group);
}

Candidate largest_of(const float* logits, int64_t vocab) {
  int64_t best = 0;
  for (int64_t i = 1; i < vocab; ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return {static_cast<int32_t>(best), logits[best]};
}

// Moves on to the rows and requests of the next sequence.
SequenceOutput take_output(const SequenceInput& input, OutputRequest*& request, const float*& logits, int64_t vocab) {
  SequenceOutput output;
  if (input.want == Want::kNothing) return output;
  output.rows = input.want == Want::kAll ? static_cast<int64_t>(input.token_ids.size()) : 1;
  output.candidates = std::move(request->candidates);
  if (output.candidates.empty()) output.logits = logits;
  if (input.want == Want::kArgmax) {
    const Candidate best = output.logits
                               ? largest_of(logits, vocab)
                               : *std::min_element(output.candidates.begin(), output.candidates.end(), before);
    output.argmax = best.id;
    output.argmax_logit = best.logit;
  }
  logits += output.rows * vocab;
  request += output.rows;
  return output;
}

}  // namespace

CpuBackend::CpuBackend(int threads, const kernels::KernelSet& kernels, std::shared_ptr<MemoryPool> pool,
                       std::optional<CacheOptions> cache, CustomOperators operators)
    : threads_(threads),
      kernels_(kernels),
      pool_(std::move(pool)),
      caches_(std::move(cache)),
      operators_(std::move(operators)) {}

CpuBackend::~CpuBackend() = default;

const kernels::TernaryFormat& CpuBackend::format(const PlanOptions& options) const {
  const kernels::TernaryFormat* format = kernels::find_ternary_format(kernels_, options.ternary_format.c_str());
  if (format) return *format;
  std::string known;
  for (const kernels::TernaryFormat& each : kernels_.ternary) {
    if (each.layout.name) known += concat(known.empty() ? "" : ", ", each.layout.name);
  }
  throw OptimizationError(concat("[plan] the kernel set ", kernels_.name, " has no ternary format '",
                                 options.ternary_format, "'; it has ", known));
}

std::shared_ptr<const PackedWeights> CpuBackend::packed(const Model& model,
                                                        const kernels::TernaryFormat& format) const {
  const auto found = packed_.find({&model, &format});
  return found == packed_.end() ? nullptr : found->second.lock();
}

std::shared_ptr<const PackedHead> CpuBackend::packed_head(const Model& model, int bits) const {
  const auto found = heads_.find({&model, bits});
  return found == heads_.end() ? nullptr : found->second.lock();
}

ExecutionPlan CpuBackend::plan(const Model& model, const PlanOptions& options) const {
  const kernels::TernaryFormat& format = this->format(options);
  for (const Operator& op : model.graph().operators) {
    if (const auto* custom = std::get_if<CustomOp>(&op.kind)) operators_.check(*custom);
  }
  ExecutionPlan plan = build_plan(model.graph(), options);
  plan.memory.weights = packed_bytes(model, format);
  plan.weight_bytes_per_token = weight_bytes_per_token(model, format);
  if (!model.is_language_model()) {
    plan.memory.arena *= threads();
    return plan;
  }
  const ModelConfig& config = model.config();
  if (options.kv_dtype == KVDType::kInt8 && config.head_dim > kernels::kMaxInt8HeadDim) {
    throw OptimizationError(concat("[plan] kv_dtype int8 takes a head_dim of at most ", kernels::kMaxInt8HeadDim,
                                   ", the model has ", config.head_dim));
  }
  plan.memory.weights += packed_head_bytes(model, plan) + options.context_size * config.head_dim * 4;
  plan.memory.arena += attention_scratch_bytes(config, options, threads());
  plan.memory.kv_cache = cache_shape(config, options.kv_dtype).bytes(options.context_size, options.max_sequences);
  plan.memory.outputs =
      plan.values[plan.output].bytes(options.max_sequences) + head_scratch_bytes(plan, options.max_sequences);
  if (const HeadStep* head = plan.head()) {
    const DenseWeight& weight = head_weight(model, *head);
    if (weight.bias) {
      throw OptimizationError(
          concat("[head] ", weight.bias->label(), " is a bias; a head with one can only be 'full'"));
    }
    plan.weight_bytes_per_token += packed_head_bytes(model, plan) - static_cast<int64_t>(weight.tensor.bytes);
  }
  return plan;
}

std::shared_ptr<PreparedModel> CpuBackend::optimize_model(std::shared_ptr<const Model> model,
                                                          const PlanOptions& options) {
  ExecutionPlan plan = this->plan(*model, options);
  const kernels::TernaryFormat& format = this->format(options);
  std::shared_ptr<const PackedWeights> weights = packed(*model, format);
  const HeadStep* head_step = plan.head();
  std::shared_ptr<const PackedHead> head = head_step ? packed_head(*model, head_step->bits()) : nullptr;
  const int64_t shared = (weights ? packed_bytes(*model, format) : 0) + (head ? packed_head_bytes(*model, plan) : 0);
  check_room(*model, plan.memory, shared, *pool_, arena_.size());
  PackedCache* cache = caches_.of(model->cache());
  if (!weights) weights = pack_weights(*model, format, threads_, *pool_, cache);
  if (head_step && !head) {
    head = pack_head(head_weight(*model, *head_step).tensor, head_step->bits(), kernels_, threads_, *pool_, cache);
  }
  const auto prepared =
      std::make_shared<CpuModel>(std::move(model), std::move(weights), std::move(head), std::move(plan), operators_);
  const auto is_gone = [](const auto& entry) { return entry.second.expired(); };
  std::erase_if(packed_, is_gone);
  std::erase_if(heads_, is_gone);
  packed_[{&prepared->model(), &format}] = prepared->shared_weights();
  if (head_step) heads_[{&prepared->model(), head_step->bits()}] = prepared->shared_head();
  prepared_.add(prepared);
  return prepared;
}

std::vector<ModelMemory> CpuBackend::model_memory() const {
  std::map<const Model*, ModelMemory> models;
  std::set<const void*> counted;  // weights and heads that several prepared models share
  for (const auto& each : prepared_.alive()) {
    ModelMemory& memory = models[each->address()];
    const auto add = [&](const auto* packed, size_t bytes) {
      if (!packed || !counted.insert(packed).second) return;
      memory.weights += bytes;
      if (packed->is_mapped) memory.mapped_weights += bytes;
    };
    memory.name = each->name();
    memory.arena += static_cast<size_t>(each->plan().memory.arena);
    add(&each->weights(), each->weights().panels_bytes);
    if (each->head()) add(each->head(), static_cast<size_t>(each->head()->bytes()));
  }
  std::vector<ModelMemory> result;
  for (auto& [address, memory] : models) result.push_back(std::move(memory));
  return result;
}

void CpuBackend::trim() {
  arena_ = {};
  pool_->trim();
}

std::unique_ptr<KVCache> CpuBackend::create_cache(const PreparedModel& prepared) {
  const PlanOptions& options = prepared.plan().options;
  return std::make_unique<CpuKVCache>(cache_shape(prepared.model().config(), options.kv_dtype), options.context_size,
                                      pool_);
}

BatchOutput CpuBackend::execute_batch(PreparedModel& prepared, KVCache& cache, const Batch& batch) {
  CpuModel& cpu_model = static_cast<CpuModel&>(prepared);
  const CpuKVCache& cpu_cache = static_cast<CpuKVCache&>(cache);
  const ExecutionPlan& plan = cpu_model.plan();
  const ModelConfig& config = cpu_model.model().config();
  check_batch(plan, config, cache, batch);
  Reservation reservation(cache, batch);

  MemoryPool::Buffer arena = pool_->allocate(static_cast<size_t>(plan.memory.arena), kArenaMemory);
  std::byte* base = arena.as<std::byte>();
  const int64_t attention_scratch = attention_scratch_bytes(config, plan.options, threads_.size());
  ForwardPass pass{.plan = plan,
                   .weights = cpu_model.weights(),
                   .rope_tables = cpu_model.rope_tables(),
                   .kernels = kernels_,
                   .threads = threads_,
                   .cache_shape = cpu_cache.shape(),
                   .arena = base,
                   .attention_scratch = base + plan.memory.arena - attention_scratch,
                   .head = cpu_model.head(),
                   .head_statistics = cpu_model.head_statistics()};
  std::vector<std::vector<uint8_t*>> pages;
  for (const SequenceInput& input : batch.sequences) pages.push_back(cpu_cache.pages(input.sequence));
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    const SequenceInput& input = batch.sequences[i];
    const int64_t first = cache.length(input.sequence) - static_cast<int64_t>(input.token_ids.size());
    add_rows(pass, input, first, pages[i], config.heads / config.kv_heads);
  }

  BatchOutput result;
  if (!pass.output_rows.empty()) {
    result.logits.push_back(pool_->allocate(
        pass.output_rows.size() * static_cast<size_t>(config.vocab_size) * sizeof(float), kOutputMemory));
    pass.output = result.logits[0].as<float>();
  }
  const auto queries = std::ranges::count_if(pass.output_requests, [](const auto& request) { return request.query; });
  MemoryPool::Buffer scratch;
  if (queries > 0 && head_scratch_bytes(plan, queries) > 0) {
    scratch = pool_->allocate(static_cast<size_t>(head_scratch_bytes(plan, queries)), kOutputMemory);
    pass.head_scratch = scratch.as<float>();
  }
  const DefaultFloatEnvironment environment;
  for (const Step& step : plan.steps) run_step(pass, step);

  const float* logits = pass.output;
  OutputRequest* request = pass.output_requests.data();
  for (const SequenceInput& input : batch.sequences) {
    result.sequences.push_back(take_output(input, request, logits, config.vocab_size));
  }
  reservation.keep();
  return result;
}

std::byte* CpuBackend::network_arena(int64_t bytes) {
  if (!arena_.data() || arena_.size() < static_cast<size_t>(bytes)) {
    arena_ = {};  // goes back first: two need not fit the limit
    arena_ = pool_->allocate(static_cast<size_t>(bytes), kArenaMemory);
  }
  return arena_.as<std::byte>();
}

void CpuBackend::execute_samples(PreparedModel& prepared, const float* x, int64_t samples, float* y) {
  CpuModel& network = static_cast<CpuModel&>(prepared);
  const ExecutionPlan& plan = network.plan();
  const int64_t inputs = plan.values[plan.input].width;
  const int64_t outputs = plan.values[plan.output].width;
  const int64_t arena_bytes = plan.memory.arena / threads();
  std::byte* arena = network_arena(plan.memory.arena);
  const KVCacheShape no_cache{};
  const auto run = [&](int64_t begin, int64_t end, int thread, bool alone) {
    ForwardPass pass{.plan = plan,
                     .weights = network.weights(),
                     .rope_tables = network.rope_tables(),
                     .kernels = kernels_,
                     .threads = threads_,
                     .cache_shape = no_cache,
                     .arena = arena + thread * arena_bytes,
                     .custom_calls = network.custom_calls(),
                     .alone = alone};
    for (int64_t first = begin; first < end; first += plan.options.max_tokens) {
      pass.input = x + first * inputs;
      pass.samples = std::min(plan.options.max_tokens, end - first);
      pass.output = y + first * outputs;
      for (const Step& step : plan.steps) run_step(pass, step);
    }
  };
  // Custom operators are called by this thread alone.
  if (network.custom_calls().empty() && takes_own_samples(plan, samples, threads())) {
    threads_.parallel_for(samples, [&](int64_t begin, int64_t end, int thread) { run(begin, end, thread, true); });
  } else {
    const DefaultFloatEnvironment environment;
    run(0, samples, 0, threads() == 1);
  }
}

DeviceLimits CpuBackend::measure_limits(size_t bytes) {
  DeviceLimits limits;
  limits.multiply_adds_per_second = measure_multiply_rate(threads_, kernels_.name);
  {
    const MemoryPool::Buffer memory = pool_->allocate(bytes, kMeasurementMemory);
    std::byte* data = memory.as<std::byte>();
    threads_.parallel_for(static_cast<int64_t>(bytes),
                          [&](int64_t begin, int64_t end, int) { std::fill(data + begin, data + end, std::byte{1}); });
    limits.read_bytes_per_second = measure_read_rate(threads_, {data, bytes});
  }
  return limits;
}

std::string CpuBackend::fastest_ternary_format() {
  const kernels::TernaryFormat* fastest = &kernels_.ternary[0];
  if (!kernels_.ternary[1].layout.name) return fastest->layout.name;
  try {
    constexpr size_t kBytes = size_t{96} << 20;
    const MemoryPool::Buffer memory = pool_->allocate(kBytes, kMeasurementMemory);
    fastest = &measure_ternary_formats(threads_, kernels_, {memory.as<std::byte>(), kBytes});
  } catch (const MemoryLimitError&) {  // then bytes are what is scarce
    fastest = &kernels_.ternary[1];
  }
  return fastest->layout.name;
}

}  // namespace tritium
