// Model families: from a configuration to an operator graph. A new family is one file and one line in family.cpp.
#pragma once

#include <string>

#include "model/graph_builder.h"
#include "model/model_config.h"

namespace tritium {

using FamilyBuilder = void (*)(const ModelConfig& config, GraphBuilder& builder);

// The builder of config.architecture; ModelLoadError lists the known families.
FamilyBuilder find_family(const std::string& architecture);

// BitNet b1.58 2B-4T (arXiv:2504.12285) and the reproductions of BitNet b1.58: a decoder with sub-norms.
void build_bitnet(const ModelConfig& config, GraphBuilder& builder);
// Llama with ternary linears (HF1BitLLM, Falcon3-1.58bit, Falcon-E): a plain decoder.
void build_llama(const ModelConfig& config, GraphBuilder& builder);

}  // namespace tritium
