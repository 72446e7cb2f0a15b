# What a minion that runs Windows does for Elita, by PowerShell 5.1 or newer. `$asked` is what is asked, and `$given` the
# command's input, as Base64. As on other servers, a command runs once under its id, under its deadline here, and what it
# came to is kept in the home until it is forgotten. What is said to Elita are lines with a mark.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$utf8 = New-Object Text.UTF8Encoding $false
$answer = [Console]::OpenStandardOutput()
$base = Join-Path $HOME '.elita\commands'
$d = Join-Path $base $asked.id
$lock = "$d.lock"
$none = New-Object byte[] 0

function put([byte[]] $bytes) { if ($bytes.Length -gt 0) { $answer.Write($bytes, 0, $bytes.Length) } }
function say([string] $words) { put $utf8.GetBytes("$($asked.mark) $words`n") }
function outputs([byte[]] $out, [byte[]] $err) {
    put $out
    say 'err'
    put $err
    say 'done'
}
function report {
    $end = [IO.File]::ReadAllText("$d\end")
    $out = [IO.File]::ReadAllBytes("$d\out")
    $err = [IO.File]::ReadAllBytes("$d\err")
    if ($out.Length -gt $asked.cap) { $out = [byte[]] $out[0..($asked.cap - 1)] }
    if ($err.Length -gt $asked.cap) { $err = [byte[]] $err[0..($asked.cap - 1)] }
    # An exit code of Windows, which says nothing of signals.
    say "exit $end $($out.Length) $($err.Length)"
    outputs $out $err
}
function forget([string] $id) {
    $kept = Join-Path $base $id
    if ([IO.Directory]::Exists($kept)) { [IO.Directory]::Delete($kept, $true) }
    [IO.File]::Delete("$kept.lock")
}
function refuse([string] $why) {
    forget $asked.id
    say "refused $why"
}
# Makes the lock, in one step: false if somebody has it.
function take_lock([string] $who) {
    [void] [IO.Directory]::CreateDirectory($base)
    try { $made = [IO.File]::Open($lock, [IO.FileMode]::CreateNew, [IO.FileAccess]::Write, [IO.FileShare]::Read) }
    catch { if ([IO.File]::Exists($lock)) { return $false } else { throw } }
    $bytes = $utf8.GetBytes($who)
    $made.Write($bytes, 0, $bytes.Length)
    $made.Dispose()
    $true
}
# Ends a process with all that it has started.
function end_tree([string] $process) { & "$env:SystemRoot\System32\cmd.exe" /d /c "taskkill /PID $process /T /F >nul 2>nul" }
function on_this_drive([string] $path) {
    if ($path -eq '~') { return $HOME }
    if ($path.StartsWith('~/')) { $path = $HOME + '/' + $path.Substring(2) }
    elseif ($path.StartsWith('/')) { $path = $env:SystemDrive + $path }
    $path.Replace('/', '\')
}

function run {
    $own = Get-Process -Id $PID
    if (-not (take_lock "$PID $($own.StartTime.Ticks)")) { say 'known'; return }
    # What nobody has asked for in two days goes; no command runs that long.
    $old = [DateTime]::UtcNow.AddDays(-2)
    Get-ChildItem -LiteralPath $base -Force | Where-Object { $_.LastWriteTimeUtc -lt $old } |
        Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
    [void] [IO.Directory]::CreateDirectory($d)
    $bytes = $none
    if ($asked.url) {
        try {
            [Net.ServicePointManager]::SecurityProtocol =
                [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
            $bytes = (New-Object Net.WebClient).UploadData($asked.url, $none)
        } catch {
            $why = $_.Exception
            while ($why -and -not ($why -is [Net.WebException])) { $why = $why.InnerException }
            $code = if ($why -and $why.Response) { [int] $why.Response.StatusCode } else { 0 }
            if ($code -eq 410) { refuse 'used-up' }
            elseif ($code -eq 404) { refuse 'the URL of its input is not valid any more: it is for a minute' }
            else { refuse "its input could not be fetched: $($why.Message)" }
            return
        }
    } elseif ($given) { $bytes = [Convert]::FromBase64String($given) }
    $ahead = $asked.environment_bytes
    if ($bytes.Length -ne $ahead + $asked.input_bytes) { refuse 'its input did not arrive whole'; return }
    $environment = $asked.environment
    if ($ahead -gt 0) {
        $environment = ConvertFrom-Json $utf8.GetString($bytes, 0, $ahead)
        $rest = New-Object byte[] $asked.input_bytes
        [Array]::Copy($bytes, $ahead, $rest, 0, $rest.Length)
        $bytes = $rest
    }

    $start = New-Object Diagnostics.ProcessStartInfo
    if ($asked.script -ne $null) {
        # With a mark of its encoding, without which 5.1 reads it in that of the machine.
        [IO.File]::WriteAllText("$d\script.ps1", $asked.script, (New-Object Text.UTF8Encoding $true))
        $start.FileName = (Get-Process -Id $PID).Path
        $start.Arguments = "-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$d\script.ps1`""
    } else {
        $start.FileName = $asked.program
        $start.Arguments = $asked.arguments
    }
    $start.WorkingDirectory = on_this_drive $asked.directory
    foreach ($variable in $environment) { $start.EnvironmentVariables[$variable.name] = $variable.value }
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    say 'start'
    $answer.Flush()
    $kept = @((New-Object IO.MemoryStream), (New-Object IO.MemoryStream))
    $late = 0
    try {
        $process = [Diagnostics.Process]::Start($start)
        [IO.File]::WriteAllText("$d\pid", [string] $process.Id)
        $given_to = $process.StandardInput.BaseStream
        $giving = $given_to.WriteAsync($bytes, 0, $bytes.Length)
        $streams = @($process.StandardOutput.BaseStream, $process.StandardError.BaseStream)
        $buffers = @((New-Object byte[] 65536), (New-Object byte[] 65536))
        $reads = @($null, $null)
        foreach ($i in 0, 1) { $reads[$i] = $streams[$i].ReadAsync($buffers[$i], 0, 65536) }
        $deadline = [DateTime]::UtcNow.AddSeconds($asked.limit)
        $ended = $null
        while ($reads[0] -or $reads[1]) {
            if ($giving -and $giving.IsCompleted) { try { $given_to.Dispose() } catch {}; $giving = $null }
            $open = [Threading.Tasks.Task[]] @($reads | Where-Object { $_ })
            [void] [Threading.Tasks.Task]::WaitAny($open, 100)
            foreach ($i in 0, 1) {
                if (-not $reads[$i] -or -not $reads[$i].IsCompleted) { continue }
                $count = if ($reads[$i].Status -eq 'RanToCompletion') { $reads[$i].Result } else { 0 }
                # The rest is read and thrown away.
                $more = [Math]::Min($count, $asked.cap - $kept[$i].Length)
                if ($more -gt 0) { $kept[$i].Write($buffers[$i], 0, $more) }
                $reads[$i] = if ($count -gt 0) { $streams[$i].ReadAsync($buffers[$i], 0, 65536) } else { $null }
            }
            if ($late -eq 0 -and [DateTime]::UtcNow -gt $deadline -and -not $process.HasExited) {
                $late = 1
                end_tree $process.Id
            }
            # What the command has left behind may hold its output open: that is not waited for.
            if ($process.HasExited) {
                if (-not $ended) { $ended = [DateTime]::UtcNow }
                if ([DateTime]::UtcNow -gt $ended.AddSeconds(2)) { break }
            }
        }
        while (-not $process.WaitForExit(200)) {
            if ($late -eq 0 -and [DateTime]::UtcNow -gt $deadline) { $late = 1; end_tree $process.Id }
        }
        $code = [BitConverter]::ToUInt32([BitConverter]::GetBytes($process.ExitCode), 0)
    } catch {
        # As a shell says of a program that is not there.
        $code = 127
        $why = $utf8.GetBytes($_.Exception.GetBaseException().Message + "`n")
        $kept[1].Write($why, 0, [Math]::Min($why.Length, $asked.cap))
    }
    [IO.File]::WriteAllBytes("$d\out", $kept[0].ToArray())
    [IO.File]::WriteAllBytes("$d\err", $kept[1].ToArray())
    [IO.File]::WriteAllText("$d\end.new", "$code $late")
    [IO.File]::Move("$d\end.new", "$d\end")
    report
}

function look {
    while ($true) {
        if (-not [IO.File]::Exists($lock)) { say 'absent'; return }
        if ([IO.File]::Exists("$d\end")) { report; return }
        # While it is being made it cannot be read, or is empty.
        try { $who = [IO.File]::ReadAllText($lock) } catch [IO.IOException] { $who = '' }
        if ($who -ne '') {
            $process, $ticks = $who.Split(' ')
            $by = if ($ticks) { Get-Process -Id $process -ErrorAction SilentlyContinue }
            if (-not $by -or $by.StartTime.Ticks -ne $ticks) {
                if ([IO.File]::Exists("$d\end")) { report; return }
                if ([IO.File]::Exists("$d\pid")) { say 'lost 0 0 0 0'; outputs $none $none }
                else { forget $asked.id; say 'absent' }
                return
            }
        }
        Start-Sleep -Milliseconds 200
    }
}

function stop {
    # One that has not begun never will.
    if (take_lock 'stopped') { say 'absent'; return }
    for ($i = 0; $i -lt 20 -and -not [IO.File]::Exists("$d\pid") -and -not [IO.File]::Exists("$d\end"); $i++) {
        Start-Sleep -Milliseconds 100
    }
    if (-not [IO.File]::Exists("$d\end") -and [IO.File]::Exists("$d\pid")) { end_tree ([IO.File]::ReadAllText("$d\pid")) }
    say 'stopped'
}

switch ($asked.request) {
    'run' { run }
    'look' { look }
    'stop' { stop }
    'forget' {
        foreach ($id in $asked.ids) { forget $id }
        say 'forgotten'
    }
}
$answer.Flush()
