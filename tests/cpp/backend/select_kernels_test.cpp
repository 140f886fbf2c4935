#include "backend/select_kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "error_text.h"
#include "kernels/dispatch.h"

namespace tritium {
namespace {

void set_kernels_variable(const char* value) {
#ifdef _WIN32
  _putenv_s("TRITIUM_KERNELS", value);
#else
  setenv("TRITIUM_KERNELS", value, 1);
#endif
}

class SelectKernelsTest : public testing::Test {
 protected:
  SelectKernelsTest() {
    const char* value = std::getenv("TRITIUM_KERNELS");
    before_ = value ? value : "";
  }
  ~SelectKernelsTest() override { set_kernels_variable(before_.c_str()); }
  std::string before_;
};

TEST_F(SelectKernelsTest, TakesTheBestWithoutAnOverride) {
  set_kernels_variable("");
  EXPECT_EQ(&select_kernel_set(), &kernels::best_kernel_set());
}

TEST_F(SelectKernelsTest, TakesTheNamedSet) {
  set_kernels_variable("scalar");
  EXPECT_STREQ(select_kernel_set().name, "scalar");
}

TEST_F(SelectKernelsTest, RefusesAnUnknownNameAndListsTheKnown) {
  set_kernels_variable("avx1024");
  const std::string text = error_text<DeviceError>([] { select_kernel_set(); });
  EXPECT_TRUE(contains(text, "TRITIUM_KERNELS='avx1024'"));
  EXPECT_TRUE(contains(text, "scalar"));
}

TEST_F(SelectKernelsTest, RefusesASetThatTheCpuCannotRunAndNamesWhatIsMissing) {
  for (auto set = kernels::compiled_kernel_sets(); *set; ++set) {
    set_kernels_variable((*set)->name);
    if (kernels::is_supported(**set)) {
      EXPECT_EQ(&select_kernel_set(), *set);
      continue;
    }
    const std::string text = error_text<DeviceError>([] { select_kernel_set(); });
    EXPECT_TRUE(contains(text, std::string((*set)->name) + "' needs CPU features that are missing here: ")) << text;
  }
}

}  // namespace
}  // namespace tritium
