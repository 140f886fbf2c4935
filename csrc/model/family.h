// Model families: from a configuration to an operator graph. A new family is one file and one line in family.cpp.
#pragma once

#include <string>

#include "model/graph_builder.h"

namespace tritium {

using FamilyBuilder = void (*)(const ModelConfig& config, GraphBuilder& builder);

// The builder of config.architecture; ModelLoadError lists the known families.
FamilyBuilder find_family(const std::string& architecture);

// family_bitnet.cpp: BitNet b1.58 2B-4T (arXiv:2504.12285) and its reproductions: sub-norms before o_proj and
// down_proj, gated feed-forward.
void build_bitnet(const ModelConfig& config, GraphBuilder& builder);

}  // namespace tritium
