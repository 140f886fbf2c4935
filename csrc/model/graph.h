// Graph: a model's operators over named values, in execution order. Data only; a plan is made from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/operator.h"

namespace tritium {

enum class ValueType { kTokenIds, kFloat };

// How many rows a value has at run time: one a token that is fed, or one a position whose result is wanted. A plain
// network has one a sample, which is kTokens.
enum class RowKind { kTokens, kOutputs };

struct Value {
  std::string name;
  ValueType type = ValueType::kFloat;
  RowKind rows = RowKind::kTokens;
  int64_t width = 0;  // elements of a row
};

struct Graph {
  std::vector<Value> values;        // indexed by ValueId
  std::vector<Operator> operators;  // each after the operators it reads from
  ValueId input = -1;
  ValueId output = -1;

  // What is fed and makes a row: "tokens", or "samples" if the input is floats.
  std::string_view fed_rows() const;
  // One operator a line: "layers.0.q_proj: ternary_linear(x) -> q [tokens, 2560]".
  std::string describe() const;
};

}  // namespace tritium
