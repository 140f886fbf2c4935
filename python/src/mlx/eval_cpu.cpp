#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mutex>

#include "backend/select_kernels.h"
#include "backend/ternary_product.h"
#include "base/float_environment.h"
#include "base/thread_pool.h"
#include "ternary_matmul.h"

namespace tritium::mlx_extension {
namespace {

// The threads of all streams, one product at a time. They live as long as the process: streams may still run while it
// ends.
class Threads {
 public:
  static Threads& get() {
    static auto* threads = new Threads;
    return *threads;
  }

  // Calls body(begin, end, thread) for slices of [0, count), by all threads if so many elements are worth it.
  template <class Body>
  void parallel_for(int64_t count, int64_t elements, Body&& body) {
    if (elements < kElementsWorthThreads) return body(0, count, 0);
    const std::lock_guard lock(mutex_);
    pool_.parallel_for(count, body);
  }

 private:
  std::mutex mutex_;
  ThreadPool pool_{default_thread_count()};
};

array allocate(mx::Shape shape, mx::Dtype dtype) {
  array result(std::move(shape), dtype, nullptr, {});
  result.set_data(mx::allocator::malloc(result.nbytes()));
  return result;
}

// What the arrays hold is there when this runs on the stream's thread, not before.
void run(TernaryProduct product, const float* x, const float* scale) {
  const DefaultFloatEnvironment environment;
  product.matrix.scale = *scale;
  const int64_t rows = product.rows, columns = product.matrix.columns;
  Threads& threads = Threads::get();
  threads.parallel_for(rows, rows * columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::QuantizedRow result;
      product.kernels.quantize(x + row * columns, columns, product.x.q + row * product.x.stride, &result);
      product.x.absmax[row] = result.absmax;
      product.x.sum[row] = result.sum;
    }
  });
  const int64_t panels = kernels::panel_count(product.matrix.rows);
  threads.parallel_for(panels, rows * panels * kernels::kPanelRows * product.x.stride / kProductsAnElement,
                       [&](int64_t begin, int64_t end, int) { multiply_panels(product, begin, end); });
}

}  // namespace

void TernaryMatmul::eval_cpu(const std::vector<array>& inputs, array& output) {
  const array &x = inputs[0], &panels = inputs[1], &scales = inputs[2];
  output.set_data(mx::allocator::malloc(output.nbytes()));
  if (output.size() == 0) return;
  const int columns = x.shape(-1), rows = static_cast<int>(output.size()) / outputs_;
  const int stride = static_cast<int>(kernels::padded_columns(columns));
  array codes = allocate({rows, stride}, mx::int8), absmax = allocate({rows}, mx::float32),
        sums = allocate({rows}, mx::int32);

  static const kernels::KernelSet& kernels = select_kernel_set();
  static const kernels::TernaryFormat& format = two_bit_format();
  const TernaryProduct product = {
      .kernels = kernels,
      .format = format,
      .matrix = {.panels = panels.data<uint8_t>(),
                 .rows = outputs_,
                 .columns = columns,
                 .groups = panels.shape(0),
                 .scale = 1,
                 .direction = divides_ ? ScaleDirection::kDivide : ScaleDirection::kMultiply,
                 .row_scales = scales.ndim() == 2 ? scales.data<float>() : nullptr,
                 .bias = inputs.size() > 3 ? inputs[3].data<float>() : nullptr},
      .x = {codes.data<int8_t>(), absmax.data<float>(), sums.data<int32_t>(), stride},
      .rows = rows,
      .residual = nullptr,
      .activation = std::nullopt,
      .y = output.data<float>()};
  auto& encoder = mx::cpu::get_command_encoder(stream());
  for (const array& input : inputs) encoder.set_input_array(input);
  encoder.set_output_array(output);
  encoder.dispatch(run, product, x.data<float>(), scales.data<float>());
  encoder.add_temporaries({codes, absmax, sums});
}

}  // namespace tritium::mlx_extension
