// Packed weights as numpy arrays over the memory where they lie, for a backend that is written in Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/packed_weights.h"
#include "bindings.h"

namespace py = pybind11;

namespace tritium::python {
namespace {

using Weights = std::shared_ptr<const PackedWeights>;

// A matrix of a model, and what keeps its memory.
struct TernaryView {
  Weights owner;
  const PackedMatrix* matrix;
  const TernaryWeight* weight;
};

struct DenseView {
  Weights owner;
  std::shared_ptr<const MappedFile> file;
  const DenseMatrix* matrix;
};

// Read-only; `owner` lives as long as the array.
template <class T, class Owner>
py::array_t<T> view(const T* data, std::vector<py::ssize_t> shape, const Owner& owner) {
  const py::capsule base(new Owner(owner), [](void* held) { delete static_cast<Owner*>(held); });
  py::array_t<T> array(std::move(shape), data, base);
  array.attr("flags").attr("writeable") = false;
  return array;
}

// float32 (size), or None for nothing.
py::object floats(const std::vector<float>& values, const Weights& owner) {
  if (values.empty()) return py::none();
  return view(values.data(), {static_cast<py::ssize_t>(values.size())}, owner);
}

py::array_t<uint32_t> panels(const TernaryView& ternary) {
  const PackedMatrix& matrix = *ternary.matrix;
  const int64_t steps = kernels::padded_columns(matrix.columns / matrix.groups) / kernels::kStepColumns;
  return view(reinterpret_cast<const uint32_t*>(matrix.panels),
              {matrix.groups, kernels::panel_count(matrix.rows), steps, kernels::kPanelRows}, ternary.owner);
}

// (groups, rows) as they were stored, or None.
py::object row_scales(const TernaryView& ternary) {
  const TernaryWeight& weight = *ternary.weight;
  if (weight.row_scales.empty()) return py::none();
  py::array_t<float> scales(std::vector<py::ssize_t>{weight.groups, weight.rows});
  for (int64_t row = 0; row < weight.rows; ++row) {
    for (int64_t group = 0; group < weight.groups; ++group) {
      scales.mutable_at(group, row) = weight.row_scales[static_cast<size_t>(row * weight.groups + group)];
    }
  }
  return scales;
}

py::object dense_data(const DenseView& dense) {
  const DenseMatrix& matrix = *dense.matrix;
  const std::vector<py::ssize_t> shape = {matrix.rows, matrix.columns};
  const auto owner = std::make_pair(dense.owner, dense.file);
  if (matrix.element == kernels::Element::kF32) {
    return view(reinterpret_cast<const float*>(matrix.data), shape, owner);
  }
  return view(reinterpret_cast<const uint16_t*>(matrix.data), shape, owner);
}

const char* element_name(kernels::Element element) {
  switch (element) {
    case kernels::Element::kF16:
      return "float16";
    case kernels::Element::kBF16:
      return "bfloat16";
    default:
      return "float32";
  }
}

}  // namespace

void bind_weights(py::module_& module) {
  py::class_<TernaryView>(module, "PackedTernary")
      .def_property_readonly("panels", &panels)
      .def_property_readonly("rows", [](const TernaryView& view) { return view.matrix->rows; })
      .def_property_readonly("columns", [](const TernaryView& view) { return view.matrix->columns; })
      .def_property_readonly("groups", [](const TernaryView& view) { return view.matrix->groups; })
      .def_property_readonly("scale", [](const TernaryView& view) { return view.matrix->scale; })
      .def_property_readonly("divides",
                             [](const TernaryView& view) { return view.matrix->direction == ScaleDirection::kDivide; })
      .def_property_readonly("row_scales", &row_scales)
      .def_property_readonly("bias", [](const TernaryView& view) { return floats(view.matrix->bias, view.owner); });

  py::class_<DenseView>(module, "PackedDense")
      .def_property_readonly("data", &dense_data)
      .def_property_readonly("dtype", [](const DenseView& view) { return element_name(view.matrix->element); })
      .def_property_readonly("bias", [](const DenseView& view) { return floats(view.matrix->bias, view.owner); });

  py::class_<ModelWeights>(module, "PackedWeights")
      .def_property_readonly(
          "ternary",
          [](const ModelWeights& weights) {
            std::vector<TernaryView> views;
            for (size_t i = 0; i < weights.packed->ternary.size(); ++i) {
              views.push_back({weights.packed, &weights.packed->ternary[i], &weights.model->ternary_weights()[i]});
            }
            return views;
          })
      .def_property_readonly("dense", [](const ModelWeights& weights) {
        std::vector<DenseView> views;
        for (const DenseMatrix& matrix : weights.packed->dense) {
          views.push_back({weights.packed, matrix.tensor->file, &matrix});
        }
        return views;
      });
}

}  // namespace tritium::python
