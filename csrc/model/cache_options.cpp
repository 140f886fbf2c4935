#include "model/cache_options.h"

#include <iostream>

namespace tritium {

void CacheOptions::print_warning(const std::string& message) { std::cerr << "warning: " << message << std::endl; }

}  // namespace tritium
