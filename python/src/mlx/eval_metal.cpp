#include <mlx/allocator.h>
#include <mlx/backend/metal/device.h>
#include <string>

#include "backend/ternary_product.h"
#include "base/error.h"
#include "metal/metal_sources.h"
#include "metal/ternary_dispatch.h"
#include "ternary_matmul.h"

namespace tritium::mlx_extension {
namespace {

array allocate(mx::Shape shape, mx::Dtype dtype) {
  array result(std::move(shape), dtype, nullptr, {});
  result.set_data(mx::allocator::malloc(result.nbytes()));
  return result;
}

// MLX compiles a source when it is first asked for, and keeps the library.
MTL::Library* library(mx::metal::Device& device, const std::string& name) {
  return device.get_library("tritium_" + name, [&] {
    for (size_t i = 0; i < kMetalSourceCount; ++i) {
      if (kMetalSources[i].name == name) return std::string(kMetalSources[i].text);
    }
    throw DeviceError(concat("[mlx] there is no source ", name, ".metal"));
  });
}

MTL::ComputePipelineState* multiply_pipeline(mx::metal::Device& device, const std::string& kernel, bool has_bias) {
  const bool has_residual = false;
  const int32_t activation = kIdentity;
  const mx::metal::MTLFCList constants = {{&has_bias, MTL::DataType::DataTypeBool, 0},
                                          {&has_residual, MTL::DataType::DataTypeBool, 1},
                                          {&activation, MTL::DataType::DataTypeInt, 2}};
  const std::string source = kernel == "ternary_gemv" ? "ternary_gemv" : "ternary_gemm";
  return device.get_kernel(kernel, library(device, source), kernel + (has_bias ? "_bias" : ""), constants);
}

}  // namespace

void TernaryMatmul::eval_gpu(const std::vector<array>& inputs, array& output) {
  const array &x = inputs[0], &panels = inputs[1], &scales = inputs[2];
  output.set_data(mx::allocator::malloc(output.nbytes()));
  if (output.size() == 0) return;
  const int columns = x.shape(-1), rows = static_cast<int>(output.size()) / outputs_, groups = panels.shape(0);
  const int stride = static_cast<int>(kernels::padded_columns(columns));
  array codes = allocate({rows, stride}, mx::int8), absmax = allocate({rows}, mx::float32),
        sums = allocate({rows}, mx::int32);
  auto& device = mx::metal::device(stream().device);
  auto& encoder = mx::metal::get_command_encoder(stream());

  encoder.set_compute_pipeline_state(device.get_kernel("quantize", library(device, "quantize")));
  encoder.set_input_array(x, 0);
  encoder.set_input_array(x, 1);  // a norm's weight, which is not read
  encoder.set_output_array(codes, 2);
  encoder.set_output_array(absmax, 3);
  encoder.set_output_array(sums, 4);
  encoder.set_bytes(
      RowArguments{
          .columns = static_cast<uint32_t>(columns), .padded_columns = static_cast<uint32_t>(stride), .eps = 0},
      5);
  encoder.dispatch_threadgroups(MTL::Size(rows, 1, 1), MTL::Size(row_threads(columns), 1, 1));

  const TernaryArguments shape{.rows = static_cast<uint32_t>(outputs_),
                               .tokens = static_cast<uint32_t>(rows),
                               .groups = static_cast<uint32_t>(groups),
                               .group_columns = static_cast<uint32_t>(stride / groups),
                               .row_scales = scales.ndim() == 2,
                               .divides = divides_,
                               .splits = ternary_splits(groups)};
  const TernaryDispatch dispatch = ternary_dispatch(shape, true);  // every device of MLX has matrices
  const bool has_bias = inputs.size() > 3;
  encoder.set_compute_pipeline_state(multiply_pipeline(device, dispatch.kernel, has_bias));
  encoder.set_input_array(panels, 0);
  encoder.set_input_array(codes, 1);
  encoder.set_input_array(absmax, 2);
  encoder.set_input_array(scales, 3);
  encoder.set_input_array(has_bias ? inputs[3] : scales, 4);
  encoder.set_input_array(scales, 5);  // a residual, which is not read
  encoder.set_output_array(output, 6);
  encoder.set_bytes(shape, 7);
  encoder.dispatch_threadgroups(MTL::Size(dispatch.width, dispatch.height, 1),
                                MTL::Size(32 * dispatch.simdgroups, 1, 1));
  encoder.add_temporaries({codes, absmax, sums});
}

}  // namespace tritium::mlx_extension
