"""The catalogue of Chinese (simplified): each text as the code has it, and its translation."""

from __future__ import annotations

WORDS = {
    # the tabs
    "Runtime": "运行环境",
    "Packages": "软件包",
    "Data": "数据",
    "Drive": "云端硬盘",
    "Logins": "登录",
    "Train": "训练",
    "Run": "训练记录",
    "Code": "代码",
    # the four steps
    "Results": "结果",
    "ready": "就绪",
    "nothing fetched yet": "尚未获取数据",
    "nothing trained yet": "尚未训练",
    "none yet": "暂无",
    "Next: fetch data": "下一步:获取数据",
    "Next: train a model": "下一步:训练模型",
    "Next: look at the run": "下一步:查看训练记录",
    "Next: look again": "下一步:重新检查",
    # buttons
    "Look again": "重新检查",
    "Look": "查看",
    "Plan": "预览",
    "Install": "安装",
    "Fetch": "获取",
    "Mount": "挂载",
    "Health": "状态",
    "Has it arrived?": "是否已上传?",
    "Use token": "使用令牌",
    "Sign in to Google": "登录 Google",
    "Start": "开始",
    "Stop": "停止",
    "Flush": "立即保存",
    "Resume": "继续",
    "Download": "下载",
    "Delete": "删除",
    "Delete it": "确认删除",
    "Keep it": "保留",
    "Show": "显示",
    "Write": "写入",
    "Port": "改写",
    # fields
    "Notebook": "笔记本",
    "Keep in": "保存到",
    "nowhere; drive:data lets later sessions take downloads from there": "不保存;drive:data 供以后的会话使用",
    "What sets up and trains is rewritten so that it survives; none of it is run.": (
        "改写准备和训练的代码,使其不怕中断;不会运行任何代码。"
    ),
    "Source": "来源",
    "To": "目标",
    "Path": "路径",
    "Service": "服务",
    "Token": "令牌",
    "Model": "模型",
    "Function": "函数",
    "Epochs": "轮数",
    "Time": "时限",
    "https://…, kaggle:…, a Drive link, gs://…, a curl command": (
        "https://…、kaggle:…、云端硬盘链接、gs://…、curl 命令"
    ),
    "the cache, which all runs share": "缓存(所有训练共用)",
    "a file or folder on Drive": "云端硬盘上的文件或文件夹",
    "fetched when empty; a file or folder; sample for a first try": (
        "留空则自动获取;或填文件、文件夹;sample 用于初次尝试"
    ),
    "the model's own number": "模型的默认值",
    "train.py:build, which builds and compiles a model": "train.py:build,构建并编译模型的函数",
    'no limit; "50 min", or session for until the session ends': "不限;“50 min”,或 session(到会话结束前)",
    "kept in this session's memory only, and never shown": "只保存在本次会话的内存中,从不显示",
    "Refresh every 5 s, also while a cell trains": "每 5 秒刷新,单元格训练时也刷新",
    # what stands beside them
    "found": "已找到",
    "Ready. Press a button, or copy its line from the tab Code.": "就绪。点击按钮,或从“代码”页复制对应的一行。",
    "While a cell runs, buttons are answered when it ends.": "单元格运行时,按钮会在其结束后响应。",
    "The lines that do the same as the buttons you pressed.": "与所点按钮作用相同的代码。",
    "One requirement a line. The plan shows what would change, and touches nothing.": (
        "每行一个依赖。“预览”只显示会发生的变化,不做任何改动。"
    ),
    "What arrives is whole and verified, or not there at all.": "到达的文件必定完整且经过校验,否则不会出现。",
    "What is written to Drive is uploaded later. Mounting asks for your consent, and the kernel waits.": (
        "写入云端硬盘的内容会稍后上传。挂载需要您的授权,期间内核会等待。"
    ),
    "A token that is among the notebook's secrets need not be typed: it is read when it is needed.": (
        "已存入笔记本“密钥”的令牌无需输入:需要时会自动读取。"
    ),
    "It trains in a process of its own. Stop saves the exact step; Start goes on from it.": (
        "训练在单独的进程中进行。“停止”会保存到当前步,“开始”从该步继续。"
    ),
    # colabkit --help
    "Training that survives a throw-away runtime: Colab, Kaggle, Jupyter, the laptop.": (
        "让训练不怕运行环境中断:Colab、Kaggle、Jupyter、笔记本电脑。"
    ),
    "train the tutorial's digit classifier in a run that survives a kill": (
        "训练教程中的手写数字分类器,被中断后可继续"
    ),
    "tell where this runs and what it has": "显示当前运行环境及其资源",
    "look for what is wrong with this runtime, and say what to do": "检查运行环境的问题,并给出解决办法",
    "look at Drive's mount, unmount it, or ask whether files have reached Drive": (
        "查看或卸载云端硬盘,询问文件是否已上传"
    ),
    "fetch a file, whole and verified, resumable after an interruption": "下载文件:完整、经过校验、可断点续传",
    "push a file or a folder to a place that lasts, resumable after an interruption": (
        "把文件或文件夹上传到可长期保存的位置"
    ),
    "install packages, planned first, without breaking the kernel": "先预览再安装软件包,不会弄坏内核",
    "write what is installed into a requirements file": "把已安装的软件包写入依赖文件",
    "make everything ready that a set-up file asks for": "按照配置文件准备好一切",
    "rewrite a notebook or script so that it survives, and show what changes": (
        "改写笔记本或脚本,使其不怕中断,并显示改动"
    ),
    "run a notebook or script headless, and again after a crash": "无界面运行笔记本或脚本,崩溃后自动重来",
    "run a notebook on a machine of Colab or Kaggle, and bring back what it made": (
        "在 Colab 或 Kaggle 的机器上运行笔记本,并取回结果"
    ),
    "train a script on several workers, which survives the death of one": "用多个进程训练,其中一个退出也能继续",
    "list, verify, restore, prune, compare and hand over what training has saved": (
        "列出、校验、恢复、清理、比较和移交训练所保存的内容"
    ),
    "train a reference model or one of your own; the same command again continues it": (
        "训练参考模型或自己的模型,重复同一命令即可继续"
    ),
    "say what pictures show, by a model that was trained": "用训练好的模型识别图片",
    "measure a model on data with labels, class by class": "在带标签的数据上逐类评估模型",
    "export a model as SavedModel, TF Lite, ONNX or .keras": "导出模型:SavedModel、TF Lite、ONNX 或 .keras",
    "print what an agent has to know to work with colabkit": "打印智能体使用 colabkit 所需的说明",
    "print what lets a shell complete these commands and their options": "打印 shell 自动补全脚本",
}
