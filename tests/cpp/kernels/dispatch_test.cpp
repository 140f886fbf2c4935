// The ranked list of kernel sets, and what the CPU says of itself.
#include "kernel_problems.h"
#include "kernels/cpu_features.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

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
                set->dense_matmul && set->widen && set->rms_norm && set->add && set->gate && set->rope && set->narrow &&
                set->quantize_query && set->attend_page_f16 && set->attend_page_int8 && set->merge_attention &&
                set->finish_attention)
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
  EXPECT_STREQ(cpu_feature_name(kAvx512f), "avx512f");
  EXPECT_STREQ(cpu_feature_name(kAvx512bw), "avx512bw");
  EXPECT_STREQ(cpu_feature_name(kAvx512vl), "avx512vl");
  EXPECT_STREQ(cpu_feature_name(kAvx512dq), "avx512dq");
  EXPECT_STREQ(cpu_feature_name(kAvx512Vnni), "avx512_vnni");
  EXPECT_STREQ(cpu_feature_name(kNeon), "asimd");
  EXPECT_STREQ(cpu_feature_name(kDotprod), "asimddp");
  EXPECT_STREQ(cpu_feature_name(kI8mm), "i8mm");
}

constexpr uint32_t kAvx2Set = kAvx2 | kFma | kF16c;
constexpr uint32_t kAvx512VnniSet = kAvx2Set | kAvx512f | kAvx512bw | kAvx512vl | kAvx512dq | kAvx512Vnni;
constexpr uint64_t kX87AndXmm = 0x3, kYmm = 0x4, kOpmask = 0x20, kZmm = 0xC0;

X86Report full_report() { return {~0u, ~0u, ~0u, kX87AndXmm | kYmm | kOpmask | kZmm}; }

TEST(CpuFeatures, AreAllThereWhereCpuAndSystemHaveThem) { EXPECT_EQ(x86_features(full_report()), kAvx512VnniSet); }

TEST(CpuFeatures, NeedTheRegistersThatTheSystemSaves) {
  X86Report report = full_report();
  for (uint64_t missing : {kOpmask, uint64_t{0x40}, uint64_t{0x80}, kOpmask | kZmm}) {
    report.saved_states = full_report().saved_states & ~missing;
    EXPECT_EQ(x86_features(report), kAvx2Set) << missing;
  }
  for (uint64_t missing : {kYmm, uint64_t{0x2}}) {
    report.saved_states = full_report().saved_states & ~missing;
    EXPECT_EQ(x86_features(report), 0u) << missing;
  }
  report.saved_states = 0;
  EXPECT_EQ(x86_features(report), 0u);
}

TEST(CpuFeatures, AreEachABitOfTheCpu) {
  const struct {
    uint32_t X86Report::* word;
    int bit;
    uint32_t feature;
  } bits[] = {
      {&X86Report::basic_ecx, 12, kFma},         {&X86Report::basic_ecx, 29, kF16c},
      {&X86Report::extended_ebx, 5, kAvx2},      {&X86Report::extended_ebx, 16, kAvx512f},
      {&X86Report::extended_ebx, 17, kAvx512dq}, {&X86Report::extended_ebx, 30, kAvx512bw},
      {&X86Report::extended_ebx, 31, kAvx512vl}, {&X86Report::extended_ecx, 11, kAvx512Vnni},
  };
  for (const auto& [word, bit, feature] : bits) {
    X86Report report = full_report();
    report.*word &= ~(1u << bit);
    EXPECT_EQ(x86_features(report), kAvx512VnniSet & ~feature) << cpu_feature_name(static_cast<CpuFeature>(feature));
  }
  X86Report report = full_report();
  report.basic_ecx &= ~(1u << 28);  // AVX
  EXPECT_EQ(x86_features(report), 0u);
}

TEST(CpuFeatures, OfArmAreEachABitOfWhatLinuxSays) {
  constexpr uint64_t kAsimdBit = 1u << 1, kAsimddpBit = 1u << 20, kI8mmBit = 1u << 13;
  EXPECT_EQ(arm_features(~uint64_t{0}, ~uint64_t{0}), kNeon | kDotprod | kI8mm);
  EXPECT_EQ(arm_features(kAsimdBit | kAsimddpBit, kI8mmBit), kNeon | kDotprod | kI8mm);
  EXPECT_EQ(arm_features(~kAsimddpBit, ~uint64_t{0}), kNeon | kI8mm);
  EXPECT_EQ(arm_features(~uint64_t{0}, ~kI8mmBit), kNeon | kDotprod);
  EXPECT_EQ(arm_features(kAsimdBit, 0), kNeon);
  EXPECT_EQ(arm_features(~kAsimdBit, ~uint64_t{0}), 0u);
  EXPECT_EQ(arm_features(0, 0), 0u);
}

#if (defined(__x86_64__) && !defined(__APPLE__)) || defined(_M_X64)
TEST(Dispatch, TheX86BuildHasTheAvx2Set) {
  const KernelSet* avx2 = find_kernel_set("avx2");
  ASSERT_NE(avx2, nullptr);
  EXPECT_EQ(avx2->features, kAvx2Set);
}

TEST(Dispatch, TheX86BuildHasTheAvx512VnniSetBeforeAvx2) {
  const KernelSet* avx512_vnni = find_kernel_set("avx512_vnni");
  ASSERT_NE(avx512_vnni, nullptr);
  EXPECT_EQ(avx512_vnni->features, kAvx512VnniSet);
  const auto sets = all_sets();
  EXPECT_LT(std::find(sets.begin(), sets.end(), avx512_vnni),
            std::find(sets.begin(), sets.end(), find_kernel_set("avx2")));
}
#endif

#if (defined(__aarch64__) && !defined(__APPLE__)) || defined(_M_ARM64)
TEST(Dispatch, TheArmBuildHasItsSetsFromI8mmDownToTheBase) {
  const struct {
    const char* name;
    uint32_t features;
  } wanted[] = {{"neon_i8mm", kNeon | kDotprod | kI8mm}, {"neon_dotprod", kNeon | kDotprod}, {"neon", kNeon}};
  const auto sets = all_sets();
  ASSERT_EQ(sets.size(), 4u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_STREQ(sets[i]->name, wanted[i].name);
    EXPECT_EQ(sets[i]->features, wanted[i].features);
  }
}
#endif

#if defined(__aarch64__) && defined(__linux__)
TEST(CpuFeatures, AgreeWithTheIdentificationRegisters) {
  constexpr uint64_t kCpuidBit = 1u << 11;  // Linux lets programs read these registers
  if (!(getauxval(AT_HWCAP) & kCpuidBit)) GTEST_SKIP() << "the registers cannot be read";
  uint64_t isar0, isar1;
  __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(isar0));
  __asm__("mrs %0, ID_AA64ISAR1_EL1" : "=r"(isar1));
  EXPECT_EQ((cpu_features() & kDotprod) != 0, ((isar0 >> 44) & 0xF) != 0);
  EXPECT_EQ((cpu_features() & kI8mm) != 0, ((isar1 >> 52) & 0xF) != 0);
  EXPECT_NE(cpu_features() & kNeon, 0u);
}
#endif

#if defined(__x86_64__) && defined(__GNUC__)
TEST(CpuFeatures, AgreeWithTheCompilersRuntime) {
  EXPECT_EQ((cpu_features() & kAvx2) != 0, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ((cpu_features() & kFma) != 0, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ((cpu_features() & kAvx512f) != 0, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ((cpu_features() & kAvx512bw) != 0, __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ((cpu_features() & kAvx512vl) != 0, __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ((cpu_features() & kAvx512dq) != 0, __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ((cpu_features() & kAvx512Vnni) != 0, __builtin_cpu_supports("avx512vnni") != 0);
}
#endif

}  // namespace dispatch_test
}  // namespace tritium::kernels::testing
