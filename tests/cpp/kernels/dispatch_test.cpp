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
    EXPECT_TRUE(set->quantize && set->dequantize && set->dense_matmul && set->widen && set->rms_norm && set->add &&
                set->gate && set->rope && set->narrow && set->quantize_query && set->attend_page_f16 &&
                set->attend_page_int8 && set->merge_attention && set->finish_attention && set->dequantize_rows &&
                set->activate && set->softmax && set->layer_norm && set->pack_head && set->scan_head)
        << set->name;
  }
}

TEST(Dispatch, EverySetHasTheTwoBitFormatFirstAndEveryKernelOfItsFormats) {
  for (const KernelSet* set : all_sets()) {
    EXPECT_STREQ(set->ternary[0].layout.name, "2bit") << set->name;
    for (size_t i : formats_of(*set)) {
      const TernaryFormat& format = set->ternary[i];
      EXPECT_TRUE(format.pack_panel && format.gemv && format.gemm) << set->name << ", " << format.layout.name;
      EXPECT_STREQ(format.layout.name, scalar().ternary[i].layout.name) << set->name;
      EXPECT_EQ(find_ternary_format(*set, format.layout.name), &format);
    }
    EXPECT_EQ(find_ternary_format(*set, "3bit"), nullptr);
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
  EXPECT_STREQ(cpu_feature_name(kAvx512Vbmi), "avx512vbmi");
  EXPECT_STREQ(cpu_feature_name(kAvxVnni), "avx_vnni");
}

constexpr uint32_t kAvx2Set = kAvx2 | kFma | kF16c;
constexpr uint32_t kAvx512VnniSet = kAvx2Set | kAvx512f | kAvx512bw | kAvx512vl | kAvx512dq | kAvx512Vnni;
constexpr uint32_t kYmmFeatures = kAvx2Set | kAvxVnni;
constexpr uint32_t kAllX86 = kAvx512VnniSet | kAvx512Vbmi | kAvxVnni;
constexpr uint64_t kX87AndXmm = 0x3, kYmm = 0x4, kOpmask = 0x20, kZmm = 0xC0;

X86Report full_report() { return {~0u, ~0u, ~0u, ~0u, kX87AndXmm | kYmm | kOpmask | kZmm}; }

TEST(CpuFeatures, AreAllThereWhereCpuAndSystemHaveThem) { EXPECT_EQ(x86_features(full_report()), kAllX86); }

TEST(CpuFeatures, NeedTheRegistersThatTheSystemSaves) {
  X86Report report = full_report();
  for (uint64_t missing : {kOpmask, uint64_t{0x40}, uint64_t{0x80}, kOpmask | kZmm}) {
    report.saved_states = full_report().saved_states & ~missing;
    EXPECT_EQ(x86_features(report), kYmmFeatures) << missing;
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
      {&X86Report::basic_ecx, 12, kFma},          {&X86Report::basic_ecx, 29, kF16c},
      {&X86Report::extended_ebx, 5, kAvx2},       {&X86Report::extended_ebx, 16, kAvx512f},
      {&X86Report::extended_ebx, 17, kAvx512dq},  {&X86Report::extended_ebx, 30, kAvx512bw},
      {&X86Report::extended_ebx, 31, kAvx512vl},  {&X86Report::extended_ecx, 11, kAvx512Vnni},
      {&X86Report::extended_ecx, 1, kAvx512Vbmi}, {&X86Report::extended1_eax, 4, kAvxVnni},
  };
  for (const auto& [word, bit, feature] : bits) {
    X86Report report = full_report();
    report.*word &= ~(1u << bit);
    EXPECT_EQ(x86_features(report), kAllX86 & ~feature) << cpu_feature_name(static_cast<CpuFeature>(feature));
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
TEST(Dispatch, TheX86BuildHasItsSetsFromAvx512DownToAvx2) {
  const struct {
    const char* name;
    uint32_t features;
    size_t formats;
  } wanted[] = {
      {"avx512_vbmi", kAvx512VnniSet | kAvx512Vbmi, 2},
      {"avx512_vnni", kAvx512VnniSet, 1},
      {"avx_vnni", kAvx2Set | kAvxVnni, 1},
      {"avx512_vnni_256", kAvx2Set | kAvx512f | kAvx512vl | kAvx512Vnni, 1},
      {"avx2", kAvx2Set, 1},
  };
  const auto sets = all_sets();
  ASSERT_EQ(sets.size(), std::size(wanted) + 1);
  for (size_t i = 0; i < std::size(wanted); ++i) {
    EXPECT_STREQ(sets[i]->name, wanted[i].name);
    EXPECT_EQ(sets[i]->features, wanted[i].features) << wanted[i].name;
    EXPECT_EQ(formats_of(*sets[i]).size(), wanted[i].formats) << wanted[i].name;
  }
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
  EXPECT_EQ((cpu_features() & kAvx512Vbmi) != 0, __builtin_cpu_supports("avx512vbmi") != 0);
}
#endif

}  // namespace dispatch_test
}  // namespace tritium::kernels::testing
