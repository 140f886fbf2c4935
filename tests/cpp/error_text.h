// What an action says when it fails.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace tritium {

// The text of the Error that action() throws; "no error" if it throws none. Other exceptions pass.
template <class Error>
std::string error_text(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << text << "' does not contain '" << part << "'";
}

}  // namespace tritium
