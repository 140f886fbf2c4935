// The ranked list of kernel sets, and what the CPU says of itself.
#include "kernel_problems.h"
#include "kernels/cpu_features.h"

namespace tritium::kernels::testing {
namespace dispatch_test {

TEST(Dispatch, BestSetIsTheFirstSupportedOne) {
  const KernelSet& best = best_kernel_set();
  EXPECT_TRUE(is_supported(best));
  for (const KernelSet* set : all_sets()) {
    if (set == &best) break;
    EXPECT_FALSE(is_supported(*set)) << set->name;
  }
}

TEST(Dispatch, ScalarIsLastAndRunsEverywhere) {
  ASSERT_FALSE(all_sets().empty());
  EXPECT_STREQ(all_sets().back()->name, "scalar");
  EXPECT_EQ(all_sets().back()->features, 0u);
  EXPECT_TRUE(is_supported(*all_sets().back()));
}

TEST(Dispatch, FindsEverySetByItsNameAndNoOther) {
  for (const KernelSet* set : all_sets()) EXPECT_EQ(find_kernel_set(set->name), set);
  EXPECT_EQ(find_kernel_set("avx"), nullptr);
  EXPECT_EQ(find_kernel_set(""), nullptr);
}

TEST(Dispatch, EverySetHasEveryKernel) {
  for (const KernelSet* set : all_sets()) {
    EXPECT_TRUE(set->pack_panel && set->quantize && set->ternary_gemv && set->ternary_gemm && set->dequantize &&
                set->dense_matmul && set->widen && set->rms_norm && set->add && set->gate && set->rope &&
                set->attend_page && set->merge_attention && set->finish_attention)
        << set->name;
  }
}

TEST(Dispatch, ASetThatNeedsAFeatureTheCpuLacksIsNotSupported) {
  KernelSet set = scalar();
  set.features = 1u << 31;
  EXPECT_FALSE(is_supported(set));
  set.features = cpu_features();
  EXPECT_TRUE(is_supported(set));
  set.features = cpu_features() | 1u << 31;
  EXPECT_FALSE(is_supported(set));
}

TEST(CpuFeatures, HaveDistinctNames) {
  EXPECT_STREQ(cpu_feature_name(kAvx2), "avx2");
  EXPECT_STREQ(cpu_feature_name(kFma), "fma");
  EXPECT_STREQ(cpu_feature_name(kF16c), "f16c");
}

#if (defined(__x86_64__) && !defined(__APPLE__)) || defined(_M_X64)
TEST(Dispatch, TheX86BuildHasTheAvx2Set) {
  const KernelSet* avx2 = find_kernel_set("avx2");
  ASSERT_NE(avx2, nullptr);
  EXPECT_EQ(avx2->features, uint32_t{kAvx2} | kFma | kF16c);
}
#endif

#if defined(__x86_64__) && defined(__GNUC__)
TEST(CpuFeatures, AgreeWithTheCompilersRuntime) {
  EXPECT_EQ((cpu_features() & kAvx2) != 0, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ((cpu_features() & kFma) != 0, __builtin_cpu_supports("fma") != 0);
}
#endif

}  // namespace dispatch_test
}  // namespace tritium::kernels::testing
